"""What waits in the drop folder is sent: oldest first, each once, whatever lies beside it and whatever goes wrong."""

import asyncio
import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType

from flows.events.drop_folder import delivery
from flows.events.drop_folder.delivery import UNWRITTEN_S, Delivery, deliver_forever
from flows.events.drop_folder.folder import DropFolder
from flows.events.event import CollectionEvent
from flows.events.pickup import pick_up
from flows.events.sending import EventNotTaken, EventRefused, MimasUnreachable

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    folder = DropFolder(tmp_path / "events")
    folder.make()
    return folder


def keep(folder, *events):
    for number, (event, dcid) in enumerate(events):
        folder.keep(CollectionEvent(event=event, dcid=dcid, at=NOON + timedelta(seconds=number)))


async def test_the_oldest_goes_first_whatever_its_name(folder, mimas):
    (folder.path / "from-gda.json").write_text('{"event": "start", "dcid": 1, "at": "2026-11-28T11:59:59Z"}')
    keep(folder, ("end", 1), ("start", 2), ("end", 2))
    (folder.path / "0.json").write_text('{"event": "start", "dcid": 3, "at": "2026-11-28T12:01:00Z"}')
    (folder.path / "far.json").write_text('{"event": "start", "dcid": 4, "at": "9999-12-31T23:59:59-12:00"}')
    await Delivery(folder).send_waiting()
    assert mimas.told() == [("start", 1), ("end", 1), ("start", 2), ("end", 2), ("start", 3), ("start", 4)]
    assert folder.files() == []


async def test_events_stay_and_keep_their_order_while_the_server_is_away(folder, mimas):
    keep(folder, ("start", 1), ("end", 1))

    def away(_):
        raise MimasUnreachable("away")

    mimas.trouble = away
    sending = Delivery(folder)
    for _ in range(5):
        with pytest.raises(MimasUnreachable):
            await sending.send_waiting()
    assert len(folder.files()) == 2
    mimas.trouble = lambda _: None
    await sending.send_waiting()
    assert mimas.told() == [("start", 1), ("end", 1)]


async def test_killed_between_the_servers_yes_and_the_files_removal_it_is_one_run(folder, mimas, monkeypatch):
    keep(folder, ("end", 1))
    with monkeypatch.context() as patch:

        def killed(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            await Delivery(folder).send_waiting()
    assert len(folder.files()) == 1
    mimas.end(StateType.COMPLETED)  # even then
    await Delivery(folder).send_waiting()
    assert mimas.told() == [("end", 1)]
    assert folder.files() == []


async def test_a_file_that_can_not_be_removed_is_sent_once(folder, mimas, monkeypatch):
    def fixed(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    keep(folder, ("end", 1), ("end", 2))
    monkeypatch.setattr(Path, "unlink", fixed)
    asked = []
    mimas.trouble = asked.append
    sending = Delivery(folder)
    for _ in range(3):
        await sending.send_waiting()
    assert [parameters["dcid"] for parameters in asked] == [1, 2]


@pytest.mark.usefixtures("clock")
async def test_what_the_server_refuses_is_moved_aside_and_told(folder, mimas, caplog):
    keep(folder, ("end", 1), ("end", 2))

    def refuse(parameters):
        if parameters["dcid"] == 1:
            raise EventRefused("Mimas takes no end of data collection 1")

    mimas.trouble = refuse
    await Delivery(folder).send_waiting()
    assert mimas.told() == [("end", 2)]
    assert [path.name.split("-")[2] for path in DropFolder(folder.refused).files()] == ["1"]
    assert "takes no end of data collection 1; it was moved to" in caplog.text


async def test_a_file_in_the_making_is_waited_for_and_holds_up_no_other(folder, mimas, clock):
    slow = folder.path / "slow.json"
    sending = Delivery(folder)
    for part in ('{"event": "end",', '{"event": "end", "dcid": 5'):
        slow.write_text(part)
        keep(folder, ("start", 1))
        await sending.send_waiting()
        clock(UNWRITTEN_S - 1)
        await sending.send_waiting()
    slow.write_text('{"event": "end", "dcid": 5}')
    await sending.send_waiting()
    assert ("end", 5) in mimas.told()
    assert not folder.refused.exists()


async def test_what_is_no_event_is_moved_aside_after_a_while_and_never_deleted(folder, mimas, clock, caplog):
    (folder.path / "torn.json").write_text('{"event": "end", "dc')
    (folder.path / "folder.json").mkdir()
    Path(os.fsdecode(bytes(folder.path) + b"/odd\xff\n.json")).write_text("")
    os.mkfifo(folder.path / "fifo.json")
    sending = Delivery(folder)
    await sending.send_waiting()
    clock(UNWRITTEN_S - 1)
    await sending.send_waiting()
    assert not folder.refused.exists()
    clock(2)
    await sending.send_waiting()
    assert {path.name for path in DropFolder(folder.refused).files()} == {
        "torn.json",
        "folder.json",
        "fifo.json",
        "odd\udcff\n.json",
    }
    assert (folder.refused / "torn.json").read_text() == '{"event": "end", "dc'
    assert caplog.text.count("can't be sent: ") == 4
    assert "EOF" in folder.reason(folder.refused / "torn.json")
    assert mimas.runs == []


async def test_what_can_not_be_moved_aside_is_told_once(folder, clock, caplog, monkeypatch):
    (folder.path / "torn.json").write_text("{")
    monkeypatch.setattr(DropFolder, "refuse", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    sending = Delivery(folder)
    for _ in range(4):
        await sending.send_waiting()
        clock(UNWRITTEN_S)
    assert caplog.text.count("nor moved aside: read-only") == 1


@pytest.mark.parametrize("fault", [EventNotTaken("HTTP 500"), TypeError("nobody has thought of that")])
async def test_an_event_that_the_server_always_chokes_on_is_overtaken_but_not_by_its_own_collection(
    folder, mimas, clock, fault
):
    keep(folder, ("start", 1), ("start", 2), ("end", 1))

    def choke(parameters):
        if parameters["dcid"] == 1:
            raise fault

    mimas.trouble = choke
    sending = Delivery(folder)
    for _ in range(2):  # it may be everyone's trouble
        with pytest.raises(type(fault)):
            await sending.send_waiting()
    assert mimas.told() == []
    for _ in range(10):
        await sending.send_waiting()
        clock(delivery.LOOK_S)
    assert mimas.told() == [("start", 2)]
    mimas.trouble = lambda _: None
    clock(60)
    await sending.send_waiting()
    assert mimas.told() == [("start", 2), ("start", 1), ("end", 1)]


async def test_two_who_deliver_send_each_event_once(folder, mimas, monkeypatch):
    keep(folder, *(("end", dcid) for dcid in range(1, 21)))
    asked = []
    mimas.trouble = asked.append
    monkeypatch.setattr(delivery, "LOOK_S", 0.01)
    workers = [asyncio.create_task(deliver_forever(folder)) for _ in range(2)]
    async with asyncio.timeout(20):
        while folder.files():
            await asyncio.sleep(0.01)
    for worker in workers:
        worker.cancel()
    assert [parameters["dcid"] for parameters in asked] == list(range(1, 21))


async def test_a_fault_of_the_delivery_does_not_end_it(folder, mimas, monkeypatch, caplog):
    monkeypatch.setattr(delivery, "LOOK_S", 0.01)
    monkeypatch.setattr(delivery, "_FAULT_REST_S", 0.01)
    faults = [TypeError("nobody expects this"), MimasUnreachable("away"), MimasUnreachable("away")]

    def fail(_):
        if faults:
            raise faults.pop(0)

    mimas.trouble = fail
    working = asyncio.create_task(deliver_forever(folder))
    keep(folder, ("end", 1))
    async with asyncio.timeout(20):
        while "that had waited" not in caplog.text:
            await asyncio.sleep(0.01)
    working.cancel()
    assert mimas.told() == [("end", 1)]
    assert "TypeError: nobody expects this" in caplog.text
    assert caplog.text.count("events wait in") == 1
    assert "sent 1 event(s) or request(s) that had waited" in caplog.text
    assert folder.files() == []


async def test_many_are_sent_in_passes_between_which_the_folder_is_looked_at(folder, mimas, clock, monkeypatch):
    keep(folder, *[("end", dcid) for dcid in range(1, 8)])
    (folder.path / "torn.json").write_text('{"event": "end", "dc')
    mimas.trouble = lambda _: clock(delivery.PASS_S / 2)
    sending, told = Delivery(folder), []
    for _ in range(3):
        await sending.send_waiting()
        told.append((len(mimas.runs), sending.is_cut_short))
    assert told == [(2, True), (4, True), (6, True)]
    assert not folder.refused.exists()
    clock(UNWRITTEN_S)
    keep(folder, ("start", 1))  # the oldest now
    await sending.send_waiting()
    assert (mimas.told()[-2], sending.is_cut_short) == (("start", 1), False)
    assert [path.name for path in DropFolder(folder.refused).files()] == ["torn.json"]


async def test_pickup_sends_all_whatever_a_pass_takes(folder, mimas, monkeypatch):
    monkeypatch.setattr(delivery, "PASS_S", 0.0)
    keep(folder, *[("end", dcid) for dcid in range(1, 5)])
    picked = await pick_up(folder, patience_s=0)
    assert (picked.sent, picked.waiting, len(mimas.runs)) == (4, (), 4)


@pytest.mark.parametrize("name", ["a" * 250 + ".json", "ü" * 125 + ".json", "a." + "b" * 248 + ".json"])
async def test_a_file_whose_name_is_long_is_moved_aside_too(folder, mimas, clock, name):
    for _ in range(2):
        (folder.path / name).write_text("nothing")
        sending = Delivery(folder)
        await sending.send_waiting()
        clock(UNWRITTEN_S)
        await sending.send_waiting()
    assert folder.files() == []
    assert len(aside := DropFolder(folder.refused).files()) == 2
    assert all("Invalid JSON" in folder.reason(path) for path in aside)
