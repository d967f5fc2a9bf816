"""Events of simulated data collections, on a real Prefect server."""

import socket

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed

from blocks.settings import get_settings
from flows.events import submitting
from flows.events.event import CollectionEvent
from flows.events.sending import EventRefused, MimasUnreachable, check_mimas, open_sender
from flows.events.submitting import EventNotKept
from flows.events.telling_mimas import tell_mimas
from flows.prefect_limits import LARGEST_DCID, DcidParameter


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home in which no site has ever been."""
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.setattr(submitting, "PATIENCE_S", 0.5)
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture
def no_server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield f"http://127.0.0.1:{port}/api"


async def test_a_server_that_is_not_there_is_named_with_what_to_do(no_server):
    with pytest.raises(EventNotKept, match=rf"{no_server}.*plaza up.*plaza event start 1"):
        await tell_mimas("start", 1)
    with pytest.raises(MimasUnreachable, match=f"{no_server}.*plaza up"):
        await check_mimas()


@pytest.fixture
async def without_mimas(prefect_server):
    """Take away the deployments of Mimas that other tests have made on their common server."""
    of_mimas = FlowFilter(name=FlowFilterName(any_=["mimas"]))
    async with get_client() as client:
        for deployment in await client.read_deployments(flow_filter=of_mimas):
            await client.delete_deployment(deployment.id)


@pytest.mark.slow
@pytest.mark.usefixtures("without_mimas")
async def test_an_event_is_one_run_however_often_it_is_announced():
    with pytest.raises(MimasUnreachable, match="plaza deploy"):
        await check_mimas()
    with pytest.raises(EventNotKept, match="mimas/end"):
        await tell_mimas("end", 7)

    @flow(name="mimas")
    async def decide(dcid: DcidParameter) -> None: ...

    deployments = [await (await decide.ato_deployment(event)).aapply() for event in ("start", "end")]
    await check_mimas()
    told = [await tell_mimas(event, 7) for event in ("start", "end", "end")]
    with pytest.raises(EventRefused, match=f"no end of data collection {LARGEST_DCID + 1}: .*dcid.*ISPyB"):
        await tell_mimas("end", LARGEST_DCID + 1)
    async with get_client() as client:
        runs = [run for run in await client.read_flow_runs() if run.deployment_id in deployments]
        assert sorted((run.idempotency_key, run.parameters["dcid"]) for run in runs) == [("7-end", 7), ("7-start", 7)]
        assert {run.id for run in runs} == {each.flow_run_id for each in told}
        # What Mimas has decided on already, it looks at again when it's told again
        first = told[-1].flow_run_id
        await client.set_flow_run_state(first, Completed(), force=True)
        again = (await tell_mimas("end", 7)).flow_run_id
        assert again != first
        assert (await client.read_flow_run(again)).idempotency_key == f"7-end-after-{first}"


@pytest.mark.slow
@pytest.mark.usefixtures("without_mimas")
async def test_what_is_sent_twice_is_one_run_even_if_that_has_ended():
    @flow(name="mimas")
    async def decide(dcid: DcidParameter) -> None: ...

    await (await decide.ato_deployment("end")).aapply()
    event = CollectionEvent(event="end", dcid=8)
    async with open_sender() as sender, get_client() as client:
        runs = []
        for mark in ("one", "another"):
            runs.append(await sender.send(event, mark))
            await client.set_flow_run_state(runs[-1], Completed(), force=True)
        assert [await sender.send(event, mark) for mark in ("one", "another")] == runs
