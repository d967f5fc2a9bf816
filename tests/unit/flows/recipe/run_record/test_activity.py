import fcntl

import pytest

from flows.recipe.run_record.activity import RunEnd
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.manifest import Manifest


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def clock():
    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


def say(folder, ended):
    Manifest("r", "r.json", "0" * 64, None, {}, {}, {}, ended=ended).write(folder)


def test_run_that_says_so_has_ended(folder, clock):
    say(folder, {"state": "Completed"})
    end = RunEnd(folder, 5, clock)
    assert end()
    assert not end.is_lost


def test_run_that_a_process_has_goes_on_whatever_it_said_before(folder, clock):
    say(folder, {"state": "Failed"})
    with folder.journal.open("w") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        end = RunEnd(folder, 5, clock)
        assert not end()
        clock.now += 100
        assert not end()
    assert end()


@pytest.mark.parametrize("begun", [True, False])
def test_run_without_a_process_is_lost_after_a_while(folder, clock, begun):
    if begun:
        folder.journal.touch()
        say(folder, None)
    end = RunEnd(folder, 5, clock)
    assert not end()
    clock.now += 4
    assert not end()
    clock.now += 1
    assert end()
    assert end.is_lost


def test_run_that_is_taken_up_again_is_not_lost(folder, clock):
    say(folder, None)
    end = RunEnd(folder, 5, clock)
    clock.now += 4
    with folder.journal.open("w") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        assert not end()
    clock.now += 4
    assert not end()
    clock.now += 1
    assert end()
