"""Which of the runs that crashed are taken up, and how that is told."""

from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Crashed, Failed, Running

from flows.site.interrupted_runs import MOST_DEATHS, NOTHING, Interrupted, summary, why_left

KILLED = Crashed(message="Process exited with status code: -9. Process exited due to a SIGKILL signal.")


@pytest.mark.parametrize(
    ("state", "deaths", "reason"),
    [
        (KILLED, 1, None),
        (Crashed(message="Execution was aborted by a termination signal."), 1, None),
        (Crashed(message="Its process was gone when the worker started: …"), MOST_DEATHS - 1, None),
        (Crashed(), 0, None),
        (KILLED, MOST_DEATHS, f"it has died {MOST_DEATHS} times"),
        (
            Crashed(message="Execution was aborted by Python system exit call."),
            1,
            "its flow ended its process by itself",
        ),
        (Failed(message="ValueError"), 1, "it's not Crashed any more"),
        (AwaitingRetry(), 1, "it's not Crashed any more"),
        (Running(), 1, "it's not Crashed any more"),
        (None, 0, "it's not Crashed any more"),
    ],
)
def test_what_died_is_taken_up_unless_it_dies_again_and_again(state, deaths, reason):
    assert why_left(state, deaths) == reason


@pytest.mark.parametrize(
    ("taken_up", "left", "line"),
    [
        (0, 0, NOTHING),
        (1, 0, "1 interrupted run is taken up"),
        (3, 0, "3 interrupted runs are taken up"),
        (0, 1, "1 is left (see `plaza resume --interrupted`)"),
        (2, 2, "2 interrupted runs are taken up; 2 are left (see `plaza resume --interrupted`)"),
    ],
)
def test_all_is_told_in_a_line(taken_up, left, line):
    run = FlowRun(id=UUID(int=1), flow_id=UUID(int=2), name="archive")
    assert summary([*[Interrupted(run)] * taken_up, *[Interrupted(run, "it has died")] * left]) == line


def test_what_somebody_else_took_up_is_not_left():
    run = FlowRun(id=UUID(int=1), flow_id=UUID(int=2), name="archive")
    other = Interrupted(run, by_other="AwaitingRetry")
    assert str(other) == f"{UUID(int=1)} (archive) is taken up by somebody else; it's AwaitingRetry"
    assert summary([other]) == NOTHING
    assert summary([other, Interrupted(run)]) == "1 interrupted run is taken up"


def test_each_run_is_told_with_what_was_done_about_it():
    run = FlowRun(id=UUID(int=1), flow_id=UUID(int=2), name="archive")
    assert str(Interrupted(run)) == f"{UUID(int=1)} (archive) is taken up"
    assert str(Interrupted(run, "it has died 5 times")) == f"{UUID(int=1)} (archive) is left: it has died 5 times"
