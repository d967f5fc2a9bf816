"""The engine: nodes joined by channels, without Prefect."""

import asyncio

import pytest

from blocks.errors import MessageRefused, UnknownStep
from flows.recipe.engine.channel import CAPACITY
from flows.recipe.engine.exchange import GATHERED
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from tasks.step import Send, StepParameters, message_step, registry, stream_step
from tests.support.fake_resources import FakeResources


class Count(StepParameters):
    count: int = 1


@stream_step(queue="count", parameters=Count, outputs=("every", "finally"))
async def count(parameters, inbox, context):
    async for message in inbox:
        for number in range(parameters.count):
            yield Send(number, "every", follows=message)
        yield Send("end", "finally", follows=message, completes=(message,))


@message_step(queue="double", parameters=StepParameters, outputs=("result",), default_output="result")
def double(parameters, message, context):
    if message.payload == 3:
        raise MessageRefused("3 can't be doubled")
    return [Send(message.payload * 2, "result")]


@stream_step(queue="gather", parameters=StepParameters, outputs=("all",), default_output="all")
async def gather(parameters, inbox, context):
    messages = [message async for message in inbox]
    yield Send([message.payload for message in messages], completes=tuple(messages))


@stream_step(queue="break", parameters=StepParameters)
async def break_down(parameters, inbox, context):
    async for _ in inbox:
        raise OSError("disk is gone")
    yield Send(None)


@pytest.fixture
def steps(monkeypatch):
    kept = []

    @message_step(queue="keep", parameters=StepParameters)
    def keep(parameters, message, context):
        kept.append(message)
        return ()

    own = {step.queue: step for step in (count, double, gather, break_down, keep)}
    monkeypatch.setattr(registry, "STEPS", dict.fromkeys(own, ""))
    monkeypatch.setattr("flows.recipe.engine.run.load_step", own.__getitem__)
    return kept


async def run(document):
    recipe = recipe_from_document({**document, "start": document.get("start", [[1, []]])})
    return await asyncio.wait_for(RecipeRun(recipe, "guid", FakeResources()).run(), 20)


async def test_messages_go_along_named_outputs_to_every_target_of_each(steps):
    records = await run(
        {
            1: {"queue": "count", "parameters": {"count": "200"}, "output": {"every": [2, 3], "finally": 3}},
            2: {"queue": "keep"},
            3: {"queue": "keep"},
        }
    )
    assert records[2].received == 200
    assert records[3].received == 201
    assert records[1].sent == {"every": 200, "finally": 1}
    assert all(message.environment == {"ID": "guid"} for message in steps)


async def test_a_node_without_messages_does_not_run(steps):
    records = await run(
        {
            1: {"queue": "count", "output": {"error": 2}},
            2: {"queue": "gather", "output": 3},
            3: {"queue": "keep"},
        }
    )
    assert [record.state for record in records.values()] == ["done", "not needed", "not needed"]


async def test_a_fan_in_ends_when_all_its_feeders_have(steps):
    await run(
        {
            1: {"queue": "count", "parameters": {"count": 2}, "output": {"every": [2, 3]}},
            2: {"queue": "double", "output": 3},
            3: {"queue": "gather", "output": 4},
            4: {"queue": "keep"},
        }
    )
    [message] = steps
    assert sorted(message.payload) == [0, 0, 1, 2]


async def test_a_refused_message_is_kept_and_the_rest_go_on(steps):
    records = await run(
        {
            1: {"queue": "count", "parameters": {"count": 5}, "output": {"every": 2}},
            2: {"queue": "double", "output": 3},
            3: {"queue": "keep"},
        }
    )
    assert [message.payload for message in steps] == [0, 2, 4, 8]
    assert records[2].fault == "1 of 5 messages refused; the first: MessageRefused: 3 can't be doubled"
    assert records[2].state == "failed"


async def test_a_step_that_breaks_refuses_what_it_has_not_taken_and_holds_nobody_up(steps):
    records = await run(
        {
            1: {"queue": "count", "parameters": {"count": 500}, "output": {"every": [2, 3]}},
            2: {"queue": "break", "output": 3},
            3: {"queue": "keep"},
        }
    )
    assert records[2].refused == 500
    assert records[2].first_refusal == "OSError: disk is gone"
    assert records[3].received == 500


async def test_wrong_parameters_refuse_every_message_and_say_which(steps):
    records = await run(
        {1: {"queue": "count", "parameters": {"count": "many"}, "output": {"every": 2}}, 2: {"queue": "keep"}}
    )
    assert "count: Input should be a valid integer" in records[1].first_refusal


async def test_the_same_target_twice_gets_two_messages(steps):
    records = await run({1: {"queue": "double", "output": [2, 2]}, 2: {"queue": "keep"}, "start": [[1, 4]]})
    assert records[2].received == 2


async def test_a_transport_delay_holds_the_message_back_and_no_other_target(steps):
    records = await run(
        {
            1: {"queue": "double", "output": [2, 3]},
            2: {"queue": "keep", "transport-delay": 0.3},
            3: {"queue": "keep"},
            "start": [[1, 4]],
        }
    )
    assert records[2].started - records[1].finished >= 0.29
    assert records[3].finished < records[2].started


async def test_an_unknown_step_is_refused_before_anything_runs(steps):
    with pytest.raises(UnknownStep, match=r"node 2 asks for queue 'fortune\.telling'"):
        await run({1: {"queue": "keep", "output": 2}, 2: {"queue": "fortune.telling"}})


async def test_a_slow_step_holds_back_a_fast_one(steps):
    """No more than the channel's room and what is gathered for one delivery is ever between the two."""
    ahead = []

    @stream_step(queue="keep", parameters=StepParameters)
    async def slow(parameters, inbox, context):
        taken = 0
        async for _ in inbox:
            taken += 1
            ahead.append(made[0] - taken)
            await asyncio.sleep(0)
        if taken < 0:
            yield Send(None)

    made = [0]

    @stream_step(queue="count", parameters=StepParameters)
    async def fast(parameters, inbox, context):
        async for _ in inbox:
            for number in range(5000):
                made[0] += 1
                yield Send(number, "every")

    own = {"keep": slow, "count": fast}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.recipe.engine.run.load_step", own.__getitem__)
        await run({1: {"queue": "count", "output": {"every": 2}}, 2: {"queue": "keep"}})
    assert made[0] == 5000
    assert max(ahead) <= CAPACITY + GATHERED + 2
