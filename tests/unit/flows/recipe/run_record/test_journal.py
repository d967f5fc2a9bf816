"""The journal: whatever messages hold, whatever the disk does, whoever else wants it."""

import errno
import math
import os
import subprocess
import sys
import time

import pytest

from blocks.errors import RecipeRunBusy
from flows.recipe.run_record.entries import (
    Done,
    Receiver,
    Sent,
    SentMessage,
)
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.lenient_json import encode
from flows.recipe.run_record.run_state import replay
from tasks.step import Send, StepParameters, message_step
from tests.support.engine_runs import Engine


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def entry(number):
    return Done(float(number), 1, [number])


def line(entry):
    return encode(entry) + b"\n"


def test_a_torn_line_does_not_count_and_makes_room_for_the_next(path):
    whole = line(entry(1))
    for cut in range(len(whole)):
        path.write_bytes(whole + line(entry(2))[:cut])
        assert list(read_journal(path)) == [entry(1)]
        with Journal(path) as journal:
            journal.record(entry(3))
        assert list(read_journal(path)) == [entry(1), entry(3)]


def test_a_journal_of_nothing_but_a_torn_line_is_empty(path):
    path.write_bytes(b'{"at": 1, "no')
    with Journal(path):
        assert path.read_bytes() == b""


@pytest.mark.parametrize("spoilt", [b"\x00" * 40, b"{]", b"\xff\xfe", b" {", b""])
def test_a_spoilt_line_is_left_out_and_told(path, spoilt, caplog):
    path.write_bytes(line(entry(1)) + spoilt + b"\n" + line(entry(2)))
    assert list(read_journal(path)) == [entry(1), entry(2)]
    assert "line 2 of" in caplog.text
    told: list[str] = []
    assert list(read_journal(path, told.append)) == [entry(1), entry(2)]
    assert [text.startswith(f"line 2 of {path}") for text in told] == [True]


class FullDisk:
    """Lets `os.write` fail for as long as it's full, and write less than asked when it's nearly so."""

    def __init__(self, patch):
        self._write = os.write
        self.room = math.inf
        patch.setattr(os, "write", self.write)

    def write(self, file, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(file, data[: self.room] if self.room < math.inf else data)
        self.room -= written
        return written


def test_a_full_disk_loses_nothing_once_it_has_room_again(path, monkeypatch, caplog):
    caplog.set_level("INFO")
    disk = FullDisk(monkeypatch)
    with Journal(path) as journal:
        journal.record(entry(1))
        journal.flush()
        disk.room = 5
        for number in (2, 3, 4):
            journal.record(entry(number))
            journal.flush()
        assert list(read_journal(path)) == [entry(1)]
        disk.room = math.inf
        journal.record(entry(5))
        journal.flush()
        assert list(read_journal(path)) == [entry(number) for number in (1, 2, 3, 4, 5)]
    told = [record.message for record in caplog.records]
    assert len(told) == 2  # not once for each write
    assert "can't be written, so a crash now would lose" in told[0]
    assert "is written again" in told[1]


def test_a_disk_that_stays_full_costs_the_end_of_the_journal_and_no_more(path, monkeypatch):
    disk = FullDisk(monkeypatch)
    with Journal(path) as journal:
        journal.record(entry(1))
        journal.flush()
        disk.room = 3
        journal.record(entry(2))
    disk.room = math.inf
    with Journal(path) as journal:
        journal.record(entry(3))
    assert list(read_journal(path)) == [entry(1), entry(3)]


def test_who_must_know_that_all_is_written_hears_that_it_is_not(path, monkeypatch):
    """A run waits for that before it ends: what its journal lacks would be lost with its process."""
    write = os.write
    with Journal(path) as journal:

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)
        journal.record(entry(1))
        with pytest.raises(OSError, match="No space left"):
            journal.write_out()
        monkeypatch.setattr(os, "write", write)
        journal.write_out()
        assert list(read_journal(path)) == [entry(1)]


async def test_a_run_goes_on_while_the_disk_is_full(path, monkeypatch):
    engine, disk = Engine(), FullDisk(monkeypatch)

    @message_step(queue="fill", parameters=StepParameters, outputs=("next",), default_output="next")
    async def fill(parameters, message, context):
        disk.room = 10 if message.payload == 1 else math.inf if message.payload == 4 else disk.room
        return [Send(message.payload)]

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "fill", "output": 3}, 3: {"queue": "keep"}}
    with Journal(path) as journal:
        await engine.run(document, fill, journal=journal)
    assert engine.kept.payloads == [0, 1, 2, 3, 4]
    state = replay(read_journal(path))
    assert (len(state.all), len(state.waiting)) == (11, 0)


HOLD = """
import sys, time
from pathlib import Path
from flows.recipe.run_record.entries import Done
from flows.recipe.run_record.journal import Journal
with Journal(Path(sys.argv[1])) as journal:
    journal.record(Done(1.0, 1, [1]))
    journal.flush()
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_has_a_journal_and_a_killed_one_lets_go(path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RecipeRunBusy, match="is at work in another process"):
            Journal(path)
        assert list(read_journal(path)) == [entry(1)]
    finally:
        holder.kill()
        holder.communicate()
    with Journal(path) as journal:
        journal.record(entry(2))
    assert list(read_journal(path)) == [entry(1), entry(2)]


def test_one_process_has_a_journal_once(path):
    with Journal(path), pytest.raises(RecipeRunBusy):
        Journal(path)
    Journal(path).close()


def test_a_closed_journal_does_not_write_to_a_file_that_came_after_it(path, tmp_path):
    journal = Journal(path)
    journal.close()
    with (tmp_path / "other").open("wb") as other:
        journal.record(entry(1))
        journal.flush()
        assert os.fstat(other.fileno()).st_size == 0
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "payload",
    [{"text": "x" * 10_000_000}, {"big": 2**100, "text": "\ud800" + "x" * 10_000_000}],
    ids=["msgspec", "json"],
)
async def test_large_messages_are_kept_and_come_back(path, payload):
    engine = Engine()
    begun = time.perf_counter()
    with Journal(path) as journal:
        journal.record(Sent(1.0, 0, [SentMessage([Receiver(1, 1)], payload)]))
    with Journal(path) as journal:
        document = {1: {"queue": "pass", "output": 2}, 2: {"queue": "keep"}}
        await engine.run(document, journal=journal, state=replay(read_journal(path)))
    assert engine.kept.payloads == [payload]
    state = replay(read_journal(path))
    assert [delivery.payload for delivery in state.all.values()] == [payload, payload]
    assert time.perf_counter() - begun < 60


def test_no_journal_is_an_empty_one(tmp_path):
    assert list(read_journal(tmp_path / "none")) == []
