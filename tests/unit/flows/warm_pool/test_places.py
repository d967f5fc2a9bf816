"""Which runs are under way, and which of them compute."""

from __future__ import annotations

import os
from uuid import UUID

import pytest

from flows.warm_pool import places
from flows.warm_pool.places import BEGINNING_CPU_S, QUIET_S, RunsUnderWay

RUN, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def clock(monkeypatch):
    """Time, and the CPU seconds that every process has used, as the test sets them."""

    class Clock:
        now, cpu_s = 100.0, 0.0

    monkeypatch.setattr(places.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def runs(clock):
    return RunsUnderWay(is_starting=lambda run: run == RUN, cpu_seconds=lambda pid: clock.cpu_s)


def is_busy(runs, *, is_short=False):
    return runs.look(is_short=lambda run: is_short)[RUN]


def test_a_run_that_was_chosen_is_busy_as_long_as_the_worker_starts_it(runs):
    runs.take(RUN)
    runs.take(OTHER)  # which the worker has given up
    assert runs.look(is_short=lambda run: False) == {RUN: True}


def test_a_run_is_under_way_until_its_process_has_ended(runs):
    runs.take(OTHER)
    with runs.running(OTHER, 7):
        assert OTHER in runs.look(is_short=lambda run: False)
    assert runs.look(is_short=lambda run: False) == {}


def test_a_recipe_run_is_busy_until_it_has_begun_however_long_that_takes(runs, clock):
    with runs.running(RUN, 7):
        while clock.cpu_s < BEGINNING_CPU_S:
            assert is_busy(runs)
            clock.now += QUIET_S - 0.1
            clock.cpu_s += 0.1
        assert not is_busy(runs)


def test_a_run_of_mimas_is_busy_as_long_as_it_computes(runs, clock):
    with runs.running(RUN, 7):
        clock.cpu_s = 2 * BEGINNING_CPU_S
        assert is_busy(runs, is_short=True)


def test_a_run_that_waits_for_something_is_not_busy(runs, clock):
    with runs.running(RUN, 7):
        clock.cpu_s = 0.2
        assert is_busy(runs, is_short=True)
        clock.now += QUIET_S
        assert not is_busy(runs, is_short=True)
        clock.cpu_s += 0.2
        assert is_busy(runs, is_short=True)


def test_the_kernel_is_asked_how_much_a_process_has_computed():
    runs = RunsUnderWay(is_starting=lambda run: False)
    with runs.running(RUN, os.getpid()):  # this process has taken more than a second to import its modules
        assert runs.look(is_short=lambda run: False) == {RUN: False}
    with runs.running(RUN, 2**22 + 1):  # none
        assert runs.look(is_short=lambda run: False) == {RUN: True}
