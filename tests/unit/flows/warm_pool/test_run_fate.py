"""What becomes of a run that the worker finds, by its state and its process."""

from __future__ import annotations

import pytest
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Paused,
    Pending,
    Running,
    Scheduled,
    Submitting,
    Suspended,
)

from flows.warm_pool.run_fate import SETTLING_S, Fate, fate_of

SUSPENDED, PAUSED = Suspended(timeout_seconds=60), Paused(timeout_seconds=60)
UNDER_WAY = (Pending(), Submitting(), Running(), Cancelling(), PAUSED)


@pytest.mark.parametrize("state", UNDER_WAY, ids=lambda state: state.name)
def test_whatever_has_a_process_that_nobody_watches_is_adopted(state):
    assert fate_of(state, has_process=True, is_watched=False, age_s=0.0) is Fate.ADOPTED


@pytest.mark.parametrize("state", UNDER_WAY, ids=lambda state: state.name)
@pytest.mark.parametrize("has_process", [True, False])
def test_whatever_this_worker_watches_is_left(state, has_process):
    assert fate_of(state, has_process=has_process, is_watched=True, age_s=3600.0) is Fate.LEFT


@pytest.mark.parametrize(
    ("state", "fate"),
    [
        (Running(), Fate.CRASHED),
        (PAUSED, Fate.CRASHED),
        (Cancelling(), Fate.CANCELLED),
        (Pending(), Fate.TAKEN_AGAIN),
        (Submitting(), Fate.TAKEN_AGAIN),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_without_a_process_it_is_reported_or_taken_again(state, fate):
    assert fate_of(state, has_process=False, is_watched=False, age_s=SETTLING_S) is fate


def test_run_that_another_worker_may_just_be_forking_is_left():
    assert fate_of(Pending(), has_process=False, is_watched=False, age_s=SETTLING_S / 2) is Fate.LEFT


@pytest.mark.parametrize("is_watched", [True, False])
def test_suspended_run_is_stopped_whoever_watches_it(is_watched):
    assert fate_of(SUSPENDED, has_process=True, is_watched=is_watched, age_s=0.0) is Fate.STOPPED
    assert fate_of(SUSPENDED, has_process=False, is_watched=is_watched, age_s=3600.0) is Fate.LEFT


@pytest.mark.parametrize("state", [Scheduled(), AwaitingRetry(), Completed(), Crashed(), Cancelled()])
@pytest.mark.parametrize("has_process", [True, False])
def test_what_waits_or_is_over_is_left(state, has_process):
    assert fate_of(state, has_process=has_process, is_watched=False, age_s=3600.0) is Fate.LEFT
