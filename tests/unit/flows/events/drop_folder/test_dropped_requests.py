"""Requests in the drop folder, Zocalo's own drop files and Plaza's: sent once each, beside events, in their order."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from types import SimpleNamespace
from uuid import uuid4

import pytest

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.settings import get_settings
from flows.events import dispatching, submitting
from flows.events.drop_folder import delivery
from flows.events.drop_folder.delivery import UNWRITTEN_S, Delivery
from flows.events.drop_folder.folder import DropFolder
from flows.events.event import CollectionEvent
from flows.events.pickup import pick_up
from flows.events.request import RunRequest
from flows.events.sending import MimasUnreachable, SendingRefused
from flows.events.submitting import drop_request, submit_request
from flows.resources import SiteResources
from tests.support.fake_resources import FakeLauncher, FakeResources

NODE = {"queue": "images", "parameters": {"image_command": "diffraction", "file": "{file}"}}
HEADERS = {"zocalo.go.user": "gda2", "zocalo.go.host": "i03-control"}


@pytest.fixture
def folder(home, monkeypatch):
    recipes = home / "recipes"
    recipes.mkdir()
    for name in ("a", "b", "undeployed"):
        (recipes / f"{name}.json").write_text(json.dumps({"1": NODE, "start": [[1, []]]}))
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(recipes))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    get_settings.cache_clear()
    folder = DropFolder.of(home)
    folder.make()
    return folder


@pytest.fixture
def launcher(monkeypatch):
    launcher = FakeLauncher(["a", "b", "ispyb-redo"])

    @asynccontextmanager
    async def resources():
        yield FakeResources(launcher=launcher)

    for module in (delivery, submitting):
        monkeypatch.setattr(module, "SiteResources", resources)
    return launcher


def zocalo_file(folder, at=None, **message):
    """A file as an unmodified zocalo.go leaves it in its fallback folder."""
    path = folder.path / str(uuid4())
    path.write_text(json.dumps({"headers": HEADERS, "message": message}, indent=2))
    if at is not None:
        os.utime(path, (at, at))
    return path


def launched(launcher):
    return [(launch.recipe, launch.dcid) for launch in launcher.launched]


async def test_files_of_zocalo_go_are_sent_beside_events_oldest_first(folder, mimas, launcher):
    zocalo_file(folder, 300, recipes=["b"], parameters={"ispyb_dcid": 7})
    zocalo_file(folder, 100, recipes=["a"], parameters={"ispyb_dcid": "7", "guid": "g-1"})
    zocalo_file(folder, 200, recipes=["mimas"], parameters={"event": "end", "ispyb_dcid": 7, "guid": "g-2"})
    told = []
    sending = Delivery(folder, lambda file, runs: told.append((file.sender, [run.recipe_id for run in runs])))
    folder.keep(CollectionEvent.now("start", 8))
    await sending.send_waiting()
    assert launched(launcher) == [("a", 7), ("b", 7)]
    assert mimas.told() == [("end", 7), ("start", 8)]
    assert told[:2] == [("i03-control gda2", ["g-1"]), ("i03-control gda2", ["g-2"])]
    assert folder.files() == []


async def test_a_sender_that_was_killed_before_it_removed_the_file_starts_no_second_run(
    folder, mimas, launcher, monkeypatch
):
    path = zocalo_file(folder, recipes=["a", "mimas"], parameters={"event": "end", "ispyb_dcid": 7})

    def die(*_):
        raise KeyboardInterrupt

    killed = Delivery(folder)
    monkeypatch.setattr(killed, "_remove", die)
    with pytest.raises(KeyboardInterrupt):
        await killed.send_waiting()
    assert path.exists()
    mimas.end()
    await Delivery(folder).send_waiting()
    assert not path.exists()
    assert (len(launcher.launched), len(mimas.runs)) == (1, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"headers": {}, "mess', "EOF"),
        ('{"headers": {}, "message": 7}', "message: Input should be"),
        ('{"headers": [], "message": {}}', "headers: Input should be"),
        ('{"headers": {}, "message": {"recipes": ["a"], "parameters": [1]}}', "message.parameters: Input should be"),
        ('{"headers": {}, "message": {"recipes": [], "parameters": {}}}', "nothing to run"),
        ('{"headers": {}, "message": {"recipes": ["a"], "parameters": {"ispyb_dcid": "x"}}}', "'x' is no id"),
        ('{"headers": {}, "message": {"recipes": ["nonesuch"]}}', "'nonesuch' is unknown"),
        ('{"headers": {}, "message": {"recipes": ["mimas"], "parameters": {"ispyb_dcid": 7}}}', "needs an event"),
        ('{"headers": {}, "message": {"recipes": ["a"], "parameters": {"x": 1e300}}}', "64 bits"),
        ('{"headers": {}, "message": {"custom_recipe": {"start": 1}}}', "custom recipe"),
    ],
)
@pytest.mark.parametrize("name", ["bad.json", "7f0b3c34-9b1c-4e1a-a1ee-0d0b2b4b9d1e"])
async def test_what_can_not_be_run_is_moved_aside_with_the_reason(
    folder, mimas, launcher, clock, content, reason, name
):
    (folder.path / name).write_text(content)
    folder.keep(CollectionEvent.now("end", 8))
    sending = Delivery(folder)
    await sending.send_waiting()
    clock(UNWRITTEN_S)
    await sending.send_waiting()
    assert reason in folder.reason(folder.refused / name)
    assert (folder.refused / name).read_text() == content
    assert mimas.told() == [("end", 8)]
    assert folder.files() == []


async def test_a_file_of_zocalo_go_is_read_once_it_is_whole(folder, mimas, launcher, clock):
    path = zocalo_file(folder, recipes=["a"], parameters={"ispyb_dcid": 7})
    whole = path.read_text()
    sending = Delivery(folder)
    for length in range(0, len(whole), 40):
        path.write_text(whole[:length])
        await sending.send_waiting()
        clock(UNWRITTEN_S - 1)
    assert launcher.launched == []
    path.write_text(whole)
    await sending.send_waiting()
    assert launched(launcher) == [("a", 7)]


@pytest.mark.parametrize("fault", [DatabaseUnavailable, ConfigurationError])
async def test_a_job_waits_for_ispyb_and_others_overtake_but_not_of_its_own(
    folder, mimas, launcher, clock, monkeypatch, fault
):
    away = True

    def read_job(*_):
        if away:
            raise fault("ISPyB doesn't answer")
        return SimpleNamespace(dcid=7, process=42, recipe="ispyb-redo")

    monkeypatch.setattr(dispatching, "_read_job", read_job)
    zocalo_file(folder, 100, parameters={"ispyb_process": 42})
    zocalo_file(folder, 200, recipes=["a"], parameters={"ispyb_process": 42})
    zocalo_file(folder, 300, recipes=["b"], parameters={"ispyb_dcid": 8})
    sending = Delivery(folder)
    for _ in range(5):
        await sending.send_waiting()
        clock(0.1)
    assert launched(launcher) == [("b", 8)]
    assert len(folder.files()) == 2
    assert {str(sending.why_waiting(path)) for path in folder.files()} == {"ISPyB doesn't answer", "None"}
    away = False
    clock(60)
    await sending.send_waiting()
    assert [recipe for recipe, _ in launched(launcher)] == ["b", "ispyb-redo", "a"]


async def test_a_job_that_is_asked_for_without_an_ispyb_is_kept(folder, mimas, launcher, monkeypatch, tmp_path):
    monkeypatch.setenv("PLAZA_ISPYB_URL", f"sqlite:///{tmp_path}/not-mounted/ispyb.sqlite")
    get_settings.cache_clear()
    for module in (delivery, submitting):
        monkeypatch.setattr(module, "SiteResources", SiteResources)
    told = await submit_request(RunRequest(parameters={"ispyb_process": 42}))
    assert told.kept in folder.files()


async def test_a_recipe_that_is_not_deployed_yet_is_waited_for(folder, mimas, launcher, clock):
    zocalo_file(folder, recipes=["undeployed"], parameters={"ispyb_dcid": 7})
    picked = await pick_up(folder)
    assert (picked.sent, len(picked.waiting)) == (0, 1)
    assert "plaza deploy" in picked.why
    launcher.recipes.add("undeployed")
    assert (await pick_up(folder)).sent == 1


async def test_a_submitted_request_is_sent_behind_what_waits_and_leaves_nothing(folder, mimas, launcher):
    zocalo_file(folder, recipes=["b"], parameters={"ispyb_dcid": 7})
    request = RunRequest(recipes=("a",), parameters={"ispyb_dcid": 7, "guid": "mine"})
    told = await submit_request(request, HEADERS | {"of RabbitMQ": b"\xff", "x": "\ud800", "workflows-recipe": True})
    assert launched(launcher) == [("b", 7), ("a", 7)]
    assert [(run.recipe, run.recipe_id) for run in told.runs] == [("a", "mine")]
    assert folder.files() == []


async def test_the_same_mark_twice_is_one_run(folder, mimas, launcher):
    request = RunRequest(recipes=("a", "mimas"), parameters={"ispyb_dcid": 7, "event": "END"})
    first = await submit_request(request, mark="message-1")
    mimas.end()
    assert await submit_request(request, mark="message-1") == first
    assert await submit_request(request, mark="message-2") != first
    assert (len(launcher.launched), len(mimas.runs)) == (2, 2)


async def test_while_the_server_is_away_a_request_is_kept_and_sent_later(folder, mimas, launcher):
    def away(*_):
        raise MimasUnreachable("Prefect's server can't be reached")

    mimas.trouble = away
    request = RunRequest(recipes=("mimas",), parameters={"ispyb_dcid": 7, "event": "end"})
    kept = [(await submit_request(request)).kept, drop_request(request, HEADERS)]
    assert kept == folder.files()
    assert json.loads(kept[1].read_text())["headers"] == HEADERS
    mimas.trouble = lambda _: None
    assert (await pick_up(folder)).sent == 2
    assert folder.files() == []


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (RunRequest(), "nothing to run"),
        (RunRequest(recipes=("nonesuch",)), "'nonesuch' is unknown"),
        (RunRequest(recipes=("a",), parameters={"x": "y" * 70_000}), "65536 at most"),
        (RunRequest(recipes=("a",), parameters={"ispyb_dcid": 2**32}), "from 1 to 4294967295"),
        (RunRequest(custom_recipe={"1": {"queue": "a", "x": "\ud800"}, "start": [[1, []]]}), "."),
    ],
)
async def test_a_request_that_can_not_be_run_is_told_to_who_asks_and_not_kept(
    folder, mimas, launcher, request_, reason
):
    with pytest.raises(SendingRefused, match=reason):
        await submit_request(request_)
    assert folder.files() == []
    assert not folder.refused.exists()


async def test_a_request_of_ours_that_somebody_else_has_found_wrong_is_told_so(folder, mimas, launcher, monkeypatch):
    """As the site's worker does, which may be faster."""
    keep = DropFolder.keep

    def keep_and_lose(folder, content):
        path = keep(folder, content)
        folder.refuse(path, "no such recipe")
        return path

    monkeypatch.setattr(DropFolder, "keep", keep_and_lose)
    with pytest.raises(SendingRefused, match="no such recipe"):
        await submit_request(RunRequest(recipes=("a",)))
    assert list(folder.refused.iterdir()) == []


async def test_a_fault_that_nobody_expects_holds_up_no_other(folder, mimas, launcher, clock, monkeypatch):
    def read_job(*_):
        raise ValueError("nobody has thought of that")

    monkeypatch.setattr(dispatching, "_read_job", read_job)
    zocalo_file(folder, 100, parameters={"ispyb_process": 42})
    zocalo_file(folder, 200, recipes=["a"], parameters={"ispyb_dcid": 8})
    sending = Delivery(folder)
    for _ in range(delivery.TRIES_IN_ORDER - 1):
        with pytest.raises(ValueError, match="thought of"):
            await sending.send_waiting()
    await sending.send_waiting()
    assert launched(launcher) == [("a", 8)]
    assert len(folder.files()) == 1
    zocalo_file(folder, 300, recipes=["b"], parameters={"ispyb_dcid": 8})
    assert (await submit_request(RunRequest(recipes=("a",)))).kept in folder.files()
    picked = await pick_up(folder)
    assert (picked.sent, len(picked.waiting), "thought of" in picked.why) == (2, 1, True)


async def test_behind_many_a_request_is_kept_once_its_patience_is_over(folder, mimas, launcher, monkeypatch):
    """And nothing is lost or sent twice of what it sent in between."""
    create = mimas.create_flow_run_from_deployment

    async def slowly(*arguments, **others):
        await asyncio.sleep(0.02)
        return await create(*arguments, **others)

    monkeypatch.setattr(mimas, "create_flow_run_from_deployment", slowly)
    monkeypatch.setattr(delivery, "PASS_S", 0.05)
    for dcid in range(1, 101):
        folder.keep(CollectionEvent.now("end", dcid))
    async with asyncio.timeout(5):
        told = await submit_request(RunRequest(recipes=("a",)))
    assert told.kept in folder.files()
    assert 0 < len(mimas.runs) < 100
    assert (await pick_up(folder)).waiting == ()
    assert mimas.told() == [("end", dcid) for dcid in range(1, 101)]
    assert launched(launcher) == [("a", None)]


async def test_the_fault_of_a_file_that_waits_is_not_told_to_who_sends_another(
    folder, mimas, launcher, monkeypatch, caplog
):
    def read_job(*_):
        raise ValueError("a fault of the first")

    monkeypatch.setattr(dispatching, "_read_job", read_job)
    zocalo_file(folder, 100, parameters={"ispyb_process": 42})
    assert (await submit_request(RunRequest(recipes=("a",)))).kept
    said = [record.getMessage() for record in caplog.records if "is kept in" in record.getMessage()]
    assert said
    assert "another one that waits before it" in said[-1]
    assert "of the first" not in said[-1]
