"""A recipe run that waits for the run status in ISPyB, on a real Prefect server."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from ispyb.sqlalchemy import DataCollection
from sqlalchemy import update

from blocks.ispyb_connection import transaction
from blocks.settings import get_settings
from flows.recipe import ispyb_reading
from flows.recipe.flow import recipe_flow
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.history import read_history
from flows.recipe.run_record.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

RECIPE = {
    "1": {
        "queue": "mailnotification",
        "parameters": {"recipients": "a@localhost", "subject": "{ispyb_working_directory}"},
    },
    "start": [[1, []]],
}
GUID = "a/guid of the beamline's"
WAITING = {"ispyb_wait_for_runstatus": "1", "dispatcher_timeout": "0", "guid": GUID}


@pytest.fixture
def database():
    return "sqlite"


@pytest.fixture
def run(settings, tmp_path, monkeypatch):
    """Run the recipe for a data collection."""
    monkeypatch.setenv("PLAZA_HOME", str(settings.home))
    monkeypatch.setenv("PLAZA_BRIDGE", "1")
    get_settings.cache_clear()
    path = tmp_path / "tried-recipe.json"
    path.write_text(json.dumps(RECIPE))

    async def run(dcid, **parameters):
        state = await recipe_flow("tried-recipe", path)(dcid=dcid, parameters=parameters, return_state=True)
        return state, run_folder(str(state.state_details.flow_run_id))

    yield run
    get_settings.cache_clear()


async def test_run_goes_on_when_the_beamline_has_said_how_it_ended(run, engine, add_collection, monkeypatch):
    dcid = add_collection()

    async def pause(seconds):
        with transaction(engine) as connection:
            connection.execute(update(DataCollection).values(runStatus="DataCollection Successful"))

    monkeypatch.setattr(ispyb_reading, "asyncio", SimpleNamespace(sleep=pause, to_thread=asyncio.to_thread))
    _, folder = await run(dcid, **WAITING | {"dispatcher_timeout": "60"})
    manifest = read_manifest(folder)
    assert manifest.recipe_id == GUID
    assert manifest.parameters["guid"] == manifest.parameters["ispyb_dc_info"]["uuid"] == "aguidofthebeamlines"
    assert manifest.filled["1"]["parameters"]["subject"].endswith("/aguidofthebeamlines")


async def test_without_an_error_queue_the_run_fails_and_says_why(run, add_collection):
    state, folder = await run(add_collection(), **WAITING)
    assert state.is_failed()
    assert "RunStatusMissing" in state.message
    assert not folder.manifest.exists()


async def test_message_goes_to_its_error_queue_when_the_time_is_up(run, settings, add_collection):
    dcid = add_collection()
    state, folder = await run(dcid, **WAITING, dispatcher_error_queue="too.late", foo="bar")
    assert (state.name, state.is_completed()) == ("NotReady", True)
    assert read_history(folder).headline.startswith("NotReady: data collection")
    [file] = (settings.home / "bridge" / "outbox").glob("*.json")
    message = json.loads(file.read_text())
    assert message["queue"] == "too.late"
    expiration = message["body"]["parameters"].pop("dispatcher_expiration")
    assert isinstance(expiration, float)
    given = {**WAITING, "dispatcher_error_queue": "too.late", "foo": "bar", "ispyb_dcid": dcid}
    assert message["body"] == {"recipes": ["tried-recipe"], "parameters": given}
