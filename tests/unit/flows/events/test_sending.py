"""Which run of Mimas an event is: a new one, or one that was there before."""

import httpx
import pytest
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.events.event import CollectionEvent
from flows.events.sending import EventNotTaken, EventRefused, MimasUnreachable, Sender
from tests.support.fake_mimas import DEPLOYMENTS, FakeMimas

END = CollectionEvent(event="end", dcid=7)
ENDED = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
WHY = "Error creating flow run: Validation failed for field 'dcid'. Failure reason: 0 is less than the minimum of 1"


@pytest.fixture
def mimas():
    return FakeMimas()


@pytest.fixture
def sender(mimas):
    return Sender(mimas)


async def test_two_who_tell_the_same_at_once_are_one_run(mimas, sender):
    assert await sender.send(END, "a") == await sender.send(END, "b")
    assert [(run.idempotency_key, run.name) for run in mimas.runs] == [("7-end", "mimas end · dcid 7")]


@pytest.mark.parametrize("state", ENDED)
async def test_the_same_event_again_is_a_run_again_when_the_earlier_has_ended(mimas, sender, state):
    first = await sender.send(END, "a")
    mimas.end(state)
    second = await sender.send(END, "b")
    assert second != first
    assert await Sender(mimas).send(END, "c") == second
    mimas.end(state)
    third = await sender.send(END, "d")
    assert [run.id for run in mimas.runs] == [first, second, third]
    assert [run.idempotency_key for run in mimas.runs] == ["7-end", f"7-end-after-{first}", f"7-end-after-{second}"]


@pytest.mark.parametrize("state", [StateType.PAUSED, StateType.CANCELLING])
async def test_a_run_that_does_not_go_on_swallows_no_event(mimas, sender, state):
    first = await sender.send(END, "a")
    mimas.end(state)
    second = await sender.send(END, "b")
    assert [run.id for run in mimas.runs] == [first, second]
    assert await sender.send(END, "c") == second


async def test_what_is_sent_twice_by_one_sender_is_the_same_run_even_if_that_has_ended(mimas, sender):
    first = await sender.send(END, "a")
    mimas.end()
    second = await sender.send(END, "b")
    mimas.end()
    assert await sender.send(END, "a") == first
    assert await sender.send(END, "b") == second


async def test_two_senders_agree_on_the_run_that_follows(mimas, sender):
    first = await sender.send(END, "a")
    mimas.end()
    asked = mimas.read_flow_runs

    async def ask_while_another_sends(**filters):
        runs = await asked(**filters)
        mimas.read_flow_runs = asked
        await Sender(mimas).send(END, "quicker")
        return runs

    mimas.read_flow_runs = ask_while_another_sends
    second = await sender.send(END, "b")
    assert [run.id for run in mimas.runs] == [first, second]


async def test_a_run_that_a_person_has_started_counts(mimas, sender):
    await sender.send(END, "a")
    mimas.end()
    by_hand = await mimas.create_flow_run_from_deployment(
        DEPLOYMENTS["mimas/end"], parameters={"event": "end", "dcid": 7}, idempotency_key=None, tags=["dcid:7"]
    )
    assert await sender.send(END, "b") == by_hand.id


async def test_runs_of_an_earlier_version_have_neither_tags_nor_marks(mimas, sender):
    """They are found by their key, and what follows them is new each time."""
    await mimas.create_flow_run_from_deployment(
        DEPLOYMENTS["mimas/end"], parameters={"dcid": 7}, idempotency_key="7-end"
    )
    for mark in "abc":
        mimas.end()
        await sender.send(END, mark)
    assert len(mimas.runs) == 4


async def test_other_events_are_other_runs(mimas, sender):
    others = [
        CollectionEvent(event="start", dcid=7),
        CollectionEvent(event="end", dcid=8),
        CollectionEvent(event="end", dcid=7, parameters={"a": "1"}),
        CollectionEvent(event="end", dcid=7, parameters={"a": "2"}),
    ]
    runs = {await sender.send(event, "m") for event in (END, *others)}
    assert len(runs) == 5
    assert [run.parameters.get("parameters") for run in mimas.runs][-2:] == [{"a": "1"}, {"a": "2"}]
    mimas.end()
    again = await sender.send(others[-1], "again")
    assert mimas.runs[-1].id == again
    assert mimas.runs[-1].idempotency_key == f"{others[-1].key}-after-{mimas.runs[-2].id}"


def _answer(mimas, status, **content):
    def answer(_):
        response = httpx.Response(status, request=httpx.Request("POST", "http://prefect/api/deployments"), **content)
        raise PrefectHTTPStatusError("it says no", request=response.request, response=response)

    mimas.trouble = answer


async def test_a_dcid_that_the_schema_refuses_is_no_outage(mimas, sender):
    _answer(mimas, 409, json={"detail": WHY})
    with pytest.raises(EventRefused, match=r"no end of data collection 7: Error creating .* minimum of 1. Send it"):
        await sender.send(END, "a")


async def test_a_refusal_in_another_form_is_told_as_it_is_and_shortened(mimas, sender):
    _answer(mimas, 422, text="x" * 10_000)
    with pytest.raises(EventRefused, match=r"x … .* characters.* … x") as told:
        await sender.send(END, "a")
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize(
    ("status", "content", "fault"),
    [
        (400, {"json": {"detail": "Error hydrating flow run parameters"}}, EventRefused),
        (400, {"text": "Invalid host header"}, MimasUnreachable),
        (401, {"json": {"detail": "Unauthorized"}}, MimasUnreachable),
        (403, {"text": "no"}, MimasUnreachable),
        (404, {"text": "no"}, MimasUnreachable),
        (413, {"text": "no"}, MimasUnreachable),
        (429, {"text": "no"}, MimasUnreachable),
        (500, {"text": "QueuePool limit of size 5 overflow 10 reached"}, EventNotTaken),
        (503, {"text": "no"}, EventNotTaken),
    ],
)
async def test_only_what_is_said_of_the_event_itself_is_a_refusal(mimas, sender, status, content, fault):
    _answer(mimas, status, **content)
    with pytest.raises(fault) as told:
        await sender.send(END, "a")
    assert type(told.value) is fault
    assert fault is EventRefused or f"answers HTTP {status} at http://prefect/api/deployments: " in str(told.value)


@pytest.mark.parametrize(
    "error",
    [
        ObjectNotFound(httpx.HTTPError("404")),
        httpx.ConnectError("All connection attempts failed"),
        httpx.ReadTimeout("slow"),
        httpx.InvalidURL("no"),
        RuntimeError("Cannot send a request, as the client has been closed"),
        ValueError("Expecting value"),  # a page of a proxy
    ],
)
async def test_whatever_else_goes_wrong_is_an_outage(mimas, sender, error):
    def fail(_):
        raise error

    mimas.trouble = fail
    with pytest.raises(MimasUnreachable, match="plaza"):
        await sender.send(END, "a")
