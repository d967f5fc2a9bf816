"""Held jobs on disk: once each, oldest first, whoever holds and releases them."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from flows.mimas.backlog import Backlog, HeldJob

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def job(number=None, minutes=0, recipes=(), key="", **parameters):
    own = {} if number is None else {"ispyb_process": number}
    message = {"parameters": {**parameters, **own}, **({"recipes": list(recipes)} if recipes else {})}
    return HeldJob(message=message, since=NOON + timedelta(minutes=minutes), key=key, job_id=number)


@pytest.fixture
def backlog(tmp_path):
    return Backlog.of(tmp_path)


def test_jobs_are_listed_by_how_long_they_wait_with_all_that_starts_them(backlog):
    assert backlog.held() == []
    cloud = job(7, minutes=2, **{"statistic-cluster": "iris", "colour": "red"})
    nameless = job(minutes=1, recipes=["x"], key="run/3", ispyb_dcid=12)
    for held in (job(9, minutes=3), cloud, nameless):
        assert backlog.hold(held)
    assert [held.name for held in backlog.held()] == [nameless.name, "job-7", "job-9"]
    found = backlog.find(7)
    assert found == cloud
    assert (found.variables, found.cluster) == ({"statistic-cluster": "iris", "colour": "red"}, "iris")
    assert backlog.find(nameless.name).message == {"parameters": {"ispyb_dcid": 12}, "recipes": ["x"]}
    assert backlog.find(8) is None
    assert backlog.find("../../passwd") is None


def test_a_job_that_is_held_twice_is_held_once_since_the_first_time(backlog):
    for minutes in (0, 5):
        assert backlog.hold(job(7, minutes))
    assert [held.since for held in backlog.held()] == [NOON]
    for key in ("run/1", "run/1", "run/2"):  # another message is another thing, though it says the same
        backlog.hold(job(recipes=["x"], key=key))
    assert len(backlog.held()) == 3


def test_a_released_job_is_not_held_again(backlog):
    backlog.hold(job(7))
    assert backlog.release(job(7))
    assert not backlog.release(job(7))
    assert backlog.held() == []
    assert not backlog.hold(job(7))
    assert backlog.hold(job(7, colour="red"))  # a job of that number in a new ISPyB
    assert [held.variables for held in backlog.held()] == [{"colour": "red"}]


def test_a_job_of_the_same_number_that_is_another_one_takes_its_place(backlog):
    backlog.hold(job(7))
    backlog.hold(job(7, colour="red"))
    assert [held.variables for held in backlog.held()] == [{"colour": "red"}]


def test_what_can_not_be_read_is_told_and_keeps_no_other_from_being_listed(backlog, caplog):
    for number in (1, 2):
        backlog.hold(job(number))
    (backlog.path / "job-1.json").write_text('{"message":')
    assert [held.job_id for held in backlog.held()] == [2]
    assert "job-1.json can't be read" in caplog.text
    assert backlog.hold(job(1))
    assert len(backlog.held()) == 2


def test_processes_that_hold_and_release_at_the_same_time_agree(tmp_path):
    code = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from flows.mimas.backlog import Backlog, HeldJob

backlog = Backlog.of(Path(sys.argv[1]))
released = 0
for number in range(1, 61):
    job = HeldJob(message={"parameters": {"ispyb_process": number}}, since=datetime.now(UTC), job_id=number)
    backlog.hold(job)
    if number % 2:
        released += backlog.release(job)
print(released)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(counts) == 30
    assert [held.job_id for held in Backlog.of(tmp_path).held()] != []
    assert {held.job_id for held in Backlog.of(tmp_path).held()} == set(range(2, 61, 2))
