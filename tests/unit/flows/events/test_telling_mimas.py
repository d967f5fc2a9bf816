"""Telling an event: it's sent now, or kept and sent later; the beamline goes on."""

import asyncio
import errno
import os

import pytest

from blocks.settings import get_settings
from flows.events import submitting
from flows.events.drop_folder.delivery import Delivery
from flows.events.drop_folder.file import read_drop_file
from flows.events.drop_folder.folder import DropFolder
from flows.events.drop_folder.sender import StartedRun
from flows.events.event import CollectionEvent
from flows.events.sending import EventNotTaken, EventRefused, MimasUnreachable, open_sender
from flows.events.submitting import EventNotKept, Told
from flows.events.telling_mimas import tell_mimas
from flows.prefect_limits import LARGEST_DCID


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture
def folder(home):
    folder = DropFolder(home / "events")
    folder.make()
    return folder


def told_of(mimas):
    run = mimas.runs[0].id
    return Told((StartedRun("mimas", run, str(run)),))


def away(_):
    raise MimasUnreachable("Prefect's server can't be reached. Start it with `plaza up`")


async def test_what_can_be_sent_is_sent_and_nothing_stays(folder, mimas):
    told = await tell_mimas("end", 7)
    assert told == told_of(mimas)
    assert folder.files() == []


@pytest.mark.parametrize("fault", [MimasUnreachable("away"), EventNotTaken("HTTP 500: QueuePool limit")])
async def test_what_can_not_be_sent_is_kept_and_told_and_sent_in_order(folder, mimas, caplog, fault):
    def fail(_):
        raise fault

    mimas.trouble = fail
    kept = [(await tell_mimas(event, dcid)).kept for event, dcid in (("start", 1), ("end", 1), ("start", 2))]
    assert kept == folder.files()
    assert (
        f"start of data collection 1 is kept in {kept[0]} and will be sent as soon as the site takes it" in caplog.text
    )
    mimas.trouble = lambda _: None
    await tell_mimas("end", 2)
    assert mimas.told() == [("start", 1), ("end", 1), ("start", 2), ("end", 2)]
    assert folder.files() == []


async def test_a_server_that_hangs_costs_a_beamline_a_few_seconds(folder, mimas):
    async def hang(*_, **__):
        await asyncio.sleep(60)

    mimas.create_flow_run_from_deployment = hang
    told = await asyncio.wait_for(tell_mimas("end", 7), 20)
    assert told.kept == folder.files()[0]


async def test_while_another_sends_and_the_server_hangs_that_is_all_the_time_it_takes(folder, mimas, monkeypatch):
    monkeypatch.setattr(submitting, "PATIENCE_S", 1.0)

    async def hang(*_, **__):
        await asyncio.sleep(60)

    mimas.create_flow_run_from_deployment = hang
    loop = asyncio.get_running_loop()
    async with folder.lock():
        telling = asyncio.create_task(tell_mimas("end", 7))
        await asyncio.sleep(0.7)
    begun = loop.time()
    assert (await telling).kept == folder.files()[0]
    assert loop.time() - begun < 0.9


async def test_a_run_that_the_worker_made_of_it_is_known(folder, mimas):
    async with folder.lock():
        telling = asyncio.create_task(tell_mimas("end", 7))
        while not folder.files():
            await asyncio.sleep(0.01)
        await Delivery(folder).send_waiting()
    assert await telling == told_of(mimas)
    assert len(mimas.runs) == 1


async def test_an_event_is_on_the_disk_before_prefect_is_imported(folder, mimas, monkeypatch):
    def die():
        raise KeyboardInterrupt

    monkeypatch.setattr(submitting, "has_prefect_api", die)
    with pytest.raises(KeyboardInterrupt):
        await tell_mimas("start", 7)
    assert [read_drop_file(path).content.dcid for path in folder.files()] == [7]


async def test_while_another_sends_the_event_queues_behind_it(folder, mimas):
    async with folder.lock():
        told = await tell_mimas("end", 7)
    assert told.kept == folder.files()[0]
    assert mimas.runs == []


async def test_an_event_is_on_the_disk_before_it_is_sent(folder, mimas):
    def die(_):
        raise KeyboardInterrupt

    mimas.trouble = die
    with pytest.raises(KeyboardInterrupt):
        await tell_mimas("start", 7)
    assert [read_drop_file(path).content.dcid for path in folder.files()] == [7]


def _no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.usefixtures("folder")
async def test_on_a_full_disk_an_event_is_sent_without_being_kept(mimas, monkeypatch, caplog):
    monkeypatch.setattr(os, "fsync", _no_room)
    assert (await tell_mimas("end", 7)).flow_run_id == mimas.runs[0].id
    assert "can't be kept" in caplog.text


async def test_on_a_full_disk_an_event_that_can_not_be_sent_is_an_error_that_says_so(folder, mimas, monkeypatch):
    monkeypatch.setattr(os, "fsync", _no_room)
    mimas.trouble = away
    with pytest.raises(EventNotKept, match=r"plaza up.*No space left on device.*plaza event end 7"):
        await tell_mimas("end", 7)
    assert folder.files() == []


@pytest.mark.usefixtures("home")
async def test_without_a_home_it_is_tried_for_a_while(mimas, monkeypatch):
    monkeypatch.setattr(submitting, "PATIENCE_S", 5.0)
    answers = [EventNotTaken("HTTP 500"), MimasUnreachable("away")]

    def fail(_):
        if answers:
            raise answers.pop(0)

    mimas.trouble = fail
    assert (await tell_mimas("end", 7)).flow_run_id == mimas.runs[0].id
    monkeypatch.setattr(submitting, "PATIENCE_S", 0.0)
    mimas.trouble = away
    with pytest.raises(EventNotKept, match="no home of a site"):
        await tell_mimas("end", 8)


@pytest.mark.parametrize("dcid", [0, -1, True, LARGEST_DCID + 1, 10**30])
async def test_what_is_no_data_collection_is_refused_before_it_is_kept(folder, mimas, dcid):
    mimas.trouble = away
    with pytest.raises(EventRefused, match=r"no end of data collection .*dcid.*ISPyB"):
        await tell_mimas("end", dcid)
    assert folder.files() == []


async def test_what_mimas_refuses_is_told(folder, mimas):
    def refuse(_):
        raise EventRefused("no")

    mimas.trouble = refuse
    with pytest.raises(EventRefused, match=r"refused.*-end-7-"):
        await tell_mimas("end", 7)


async def test_parameters_go_with_the_event(folder, mimas):
    mimas.trouble = away
    await tell_mimas("end", 7, {"tea": "green"})
    mimas.trouble = lambda _: None
    await Delivery(folder).send_waiting()
    assert mimas.runs[0].parameters == {"dcid": 7, "parameters": {"tea": "green"}}


async def test_no_server_is_started_where_none_is_named(monkeypatch):
    monkeypatch.setattr("flows.events.sending.has_prefect_api", lambda: False)
    with pytest.raises(MimasUnreachable, match="plaza up"):
        async with open_sender():
            pass


def test_events_say_who_told_them():
    assert str(os.getpid()) in CollectionEvent.now("end", 7).sender
