"""A request yields its commands one after the other, and goes on with their answers, whoever gives them."""

import pytest
from sqlalchemy.exc import OperationalError

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.composite_commands import MULTIPART
from tasks.ispyb_access.writing.fulfilment import answer_all
from tasks.ispyb_access.writing.requests import Outcome, Request

REGISTER = {"ispyb_command": "register_processing", "program": "fast_dp", "store_result": "program"}
TELL = {"ispyb_command": "add_program_message", "program_id": "$program", "severity": "INFO"}
JOB = {"ispyb_command": "create_ispyb_job", "DCID": 5, "recipe": "xia2", "autostart": True}


def list_of(*items):
    return Request(MULTIPART, ({"ispyb_command_list": list(items)},), {})


def test_answer_goes_into_the_next_command():
    calls = list_of(REGISTER, TELL).calls()
    assert next(calls).parameters.program == "fast_dp"
    told = calls.send(81)
    assert (told.name, told.parameters.program_id) == ("add_program_message", 81)
    with pytest.raises(StopIteration) as end:
        calls.send(7)
    assert end.value.value == Outcome([81, 7], {"program": 81}, [])


def test_same_answers_have_the_same_outcome():
    request, asked = list_of(REGISTER, TELL, JOB), []

    def outcome():
        answers = iter([81, 7, 9])
        return answer_all(request.calls(), lambda call: (asked.append(call), next(answers))[1])

    first = outcome()
    assert outcome() == first
    assert asked[:3] == asked[3:]
    assert [announcement.payload for announcement in first.announcements] == [{"parameters": {"ispyb_process": 9}}]


@pytest.mark.parametrize(
    ("said", "left"), [({}, "nothing of the list is written"), ({"left": lambda: "all stays"}, "all stays")]
)
def test_fault_is_said_of_the_command_that_had_it(said, left):
    calls = list_of(REGISTER, TELL).calls(**said)
    next(calls)
    calls.send(81)
    with pytest.raises(MessageRefused, match=f"step 2 of 2: no such program; {left}"):
        calls.throw(MessageRefused("no such program"))


def test_nothing_is_asked_for_after_a_fault():
    asked = []

    def fail(call):
        asked.append(call.name)
        raise OperationalError(None, None, Exception("gone away"))

    with pytest.raises(OperationalError) as fault:
        answer_all(list_of(REGISTER, TELL).calls(), fail)
    assert asked == ["register_processing"]
    assert fault.value.__notes__ == ["step 1 of 2, register_processing"]


def test_value_that_a_command_can_not_use_is_refused():
    def fail(call):
        raise ValueError("too wide")

    with pytest.raises(MessageRefused, match="register_processing can't use the message: too wide"):
        answer_all(Request("register_processing", (REGISTER,), {}).calls(), fail)
