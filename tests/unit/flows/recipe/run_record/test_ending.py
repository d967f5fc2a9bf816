"""The record of a run that was ended from outside, as people asked for it."""

import fcntl
import time

import pytest

from flows.recipe.run_record import ending
from flows.recipe.run_record.activity import RunEnd
from flows.recipe.run_record.ending import CANCELLED, SUSPENDED, end_from_outside, note_end
from flows.recipe.run_record.entries import Began, Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.history import latest_runs, read_history
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.manifest import Manifest


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "abc")
    folder.path.mkdir(parents=True)
    return folder


def begin(folder, *entries):
    with Journal(folder.journal) as journal:
        for entry in (Began.now(), *entries):
            journal.record(entry)


def write_manifest(folder):
    Manifest("r", "r.json", "0" * 64, None, {}, {}, {"start": []}).write(folder)


@pytest.mark.parametrize("end", [CANCELLED, SUSPENDED])
@pytest.mark.parametrize("is_filled", [True, False])
def test_run_is_told_as_what_it_was(folder, end, is_filled):
    begin(folder)
    if is_filled:
        write_manifest(folder)
    note_end(folder, *end)
    words = f"{end[0]}: {end[1]}"
    assert read_history(folder).headline == words
    (latest,) = latest_runs(folder.path.parent, 5)
    assert latest.state == words
    has_ended = RunEnd(folder)
    assert has_ended()
    assert not has_ended.is_lost
    assert end_from_outside(folder).state == end[0]


def test_what_the_run_said_of_its_own_end_stands(folder):
    begin(folder, Ended(time.time(), "Failed", "a step failed"))
    write_manifest(folder)
    before = folder.journal.read_bytes()
    note_end(folder, *CANCELLED)
    assert folder.journal.read_bytes() == before
    assert end_from_outside(folder) is None


def test_run_that_was_taken_up_again_is_told_by_its_last_attempt(folder):
    begin(folder, Ended(time.time(), "Failed", "a step failed"), Began.now())
    write_manifest(folder)
    note_end(folder, *CANCELLED)
    assert read_history(folder).headline.startswith("Cancelled")


def test_run_that_never_began_gets_no_record(tmp_path):
    folder = RunFolder(tmp_path / "none")
    note_end(folder, *CANCELLED)
    assert not folder.path.exists()


def test_run_that_another_process_has_is_left_to_it(folder, monkeypatch):
    monkeypatch.setattr(ending, "PATIENCE_S", 0.1)
    begin(folder)
    before = folder.journal.read_bytes()
    with folder.journal.open("a") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        note_end(folder, *CANCELLED)
    assert folder.journal.read_bytes() == before


def test_record_that_can_not_be_written_is_no_fault_of_the_run(folder, caplog):
    folder.journal.mkdir()
    note_end(folder, *CANCELLED)
    assert "can't say that it was Cancelled" in caplog.text
