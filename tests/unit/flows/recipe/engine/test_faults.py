"""The engine when something goes wrong: error links, steps that break, runs that are cancelled."""

import asyncio
import threading

import pytest

from blocks.errors import MessageRefused, PassingFault, RecipeError
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from tasks.step import Retries, Send, StepParameters, message_step, registry, stream_step
from tests.support.fake_resources import FakeResources


@message_step(queue="refuse_odd", parameters=StepParameters, outputs=("even",), default_output="even")
def refuse_odd(parameters, message, context):
    if message.payload % 2:
        raise MessageRefused(f"{message.payload} is odd")
    return [Send(message.payload)]


@stream_step(queue="count", parameters=StepParameters, outputs=("every",), default_output="every")
async def count(parameters, inbox, context):
    async for message in inbox:
        for number in range(message.payload):
            yield Send(number, "every", follows=message)


class Site:
    """Runs recipes of the given steps and keeps what reaches `keep`."""

    def __init__(self, monkeypatch):
        self._patch = monkeypatch
        self.kept = []
        self.refused = []

        @message_step(queue="keep", parameters=StepParameters)
        def keep(parameters, message, context):
            self.kept.append(message)
            return ()

        self._steps = {step.queue: step for step in (refuse_odd, count, keep)}

    def recipe_run(self, document, *steps, **options):
        own = self._steps | {step.queue: step for step in steps}
        self._patch.setattr(registry, "STEPS", dict.fromkeys(own, ""))
        self._patch.setattr("flows.recipe.engine.run.load_step", own.__getitem__)
        document = {"start": [[1, 5]], **document}
        options = {"keep_dead_letter": self.refused.append, **options}
        return RecipeRun(recipe_from_document(document), "guid", FakeResources(), **options)

    async def run(self, document, *steps, **options):
        return await asyncio.wait_for(self.recipe_run(document, *steps, **options).run(), 10)


@pytest.fixture
def site(monkeypatch):
    return Site(monkeypatch)


async def test_an_error_link_carries_the_failed_message_the_reason_and_the_step(site):
    records = await site.run(
        {1: {"queue": "refuse_odd", "output": 3, "error": 2}, 2: {"queue": "keep"}, 3: {"queue": "keep"}}
    )
    [message] = site.kept
    assert message.payload == {"payload": 5, "error": "MessageRefused: 5 is odd", "node": 1, "step": "refuse_odd"}
    assert message.environment == {"ID": "guid"}
    assert [record.state for record in records.values()] == ["failed", "done", "not needed"]


async def test_a_recipe_s_error_nodes_hear_of_every_node_but_themselves(site):
    records = await site.run(
        {
            1: {"queue": "count", "output": 2},
            2: {"queue": "refuse_odd", "output": 3},
            3: {"queue": "keep"},
            4: {"queue": "refuse_odd", "output": 5},
            5: {"queue": "keep"},
            "error": [4],
        }
    )
    assert [message.payload for message in site.kept] == [0, 2, 4]
    assert records[4].received == 2
    assert [refusal.message.payload["payload"] for refusal in site.refused if refusal.node == 4] == [1, 3]


async def test_error_links_that_nothing_goes_along_hold_nobody_up(site):
    records = await site.run(
        {1: {"queue": "keep", "error": 2}, 2: {"queue": "keep", "output": 3}, 3: {"queue": "keep"}, "error": [3]}
    )
    assert [record.state for record in records.values()] == ["done", "not needed", "not needed"]


async def test_messages_of_a_broken_step_go_along_its_error_link_each(site):
    @stream_step(queue="break", parameters=StepParameters)
    async def break_down(parameters, inbox, context):
        async for _ in inbox:
            raise OSError("disk is gone")
        yield Send(None)

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "break", "error": [3]}, 3: {"queue": "keep"}}
    records = await site.run({**document, "start": [[1, 500]]}, break_down)
    assert [message.payload["payload"] for message in site.kept] == list(range(500))
    assert {refusal.error for refusal in site.refused} == {"OSError: disk is gone"}
    assert records[2].refused == 500


async def test_a_step_may_refuse_from_a_thread(site):
    @stream_step(queue="threaded", parameters=StepParameters)
    async def refuse_in_thread(parameters, inbox, context):
        async for message in inbox:
            await asyncio.to_thread(context.refuse, message, MessageRefused("no"))
        return
        yield

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "threaded", "error": 3}, 3: {"queue": "keep"}}
    records = await site.run(document, refuse_in_thread)
    assert records[2].refused == len(site.kept) == 5


async def test_a_message_step_that_raises_stop_iteration_refuses_the_message(site):
    """The event loop can't carry this exception: the run would wait for ever."""

    @message_step(queue="first", parameters=StepParameters)
    def take_first(parameters, message, context):
        return [Send(next(iter([])))]

    records = await site.run({1: {"queue": "first"}}, take_first)
    assert "StopIteration" in records[1].first_refusal


async def test_a_message_step_that_exits_refuses_the_message(site):
    @message_step(queue="exit", parameters=StepParameters)
    def leave(parameters, message, context):
        raise SystemExit("no licence")

    records = await site.run({1: {"queue": "exit"}}, leave)
    assert "no licence" in records[1].first_refusal


async def test_a_step_ends_its_work_before_a_cancelled_run_returns(site):
    cleaned = []

    @stream_step(queue="flood", parameters=StepParameters, outputs=("every",), default_output="every")
    async def flood(parameters, inbox, context):
        try:
            async for message in inbox:
                while True:
                    yield Send(0, "every", follows=message)
        finally:
            cleaned.append("flood")

    @stream_step(queue="block", parameters=StepParameters)
    async def block(parameters, inbox, context):
        try:
            async for _ in inbox:
                blocked.set()
                await asyncio.Event().wait()
        finally:
            cleaned.append("block")
        yield

    blocked = asyncio.Event()
    run = site.recipe_run({1: {"queue": "flood", "output": 2}, 2: {"queue": "block"}}, flood, block)
    running = asyncio.create_task(run.run())
    await blocked.wait()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(cleaned) == ["block", "flood"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_wraps_the_work_may_fail_but_the_work_is_done(site):
    async def fail_before(record, work):
        raise ConnectionError("Prefect's API is away")

    async def fail_after(record, work):
        await work()
        raise ConnectionError("Prefect's API is away")

    for run_node in (fail_before, fail_after):
        site.kept.clear()
        document = {1: {"queue": "count", "output": 2}, 2: {"queue": "keep"}}
        records = await site.run(document, run_node=run_node)
        assert [message.payload for message in site.kept] == [0, 1, 2, 3, 4]
        assert [record.state for record in records.values()] == ["done", "done"]


@pytest.mark.parametrize("delay", ["soon", [1], -1, "nan", "inf"])
def test_a_delay_that_is_no_number_of_seconds_is_refused_before_anything_runs(site, delay):
    with pytest.raises(RecipeError, match=r"node 2: transport-delay .* expected seconds"):
        site.recipe_run({1: {"queue": "keep", "output": 2}, 2: {"queue": "keep", "transport-delay": delay}})


async def test_delayed_messages_reach_a_step_that_fails_and_are_refused(site):
    @stream_step(queue="break", parameters=StepParameters)
    async def break_down(parameters, inbox, context):
        raise OSError("disk is gone")
        yield

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "break", "transport-delay": "0.05"}}
    records = await site.run({**document, "start": [[1, 200]]}, break_down)
    assert records[2].refused == 200


async def test_messages_that_a_step_leaves_in_its_inbox_are_handled_all_the_same(site):
    @stream_step(queue="one", parameters=StepParameters, outputs=("it",), default_output="it")
    async def take_one(parameters, inbox, context):
        async for message in inbox:
            yield Send(message.payload, "it", follows=message)
            return

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "one", "output": 3}, 3: {"queue": "keep"}}
    records = await site.run(document, take_one)
    assert records[3].received == 5


async def test_no_thread_is_left_by_a_run(site):
    before = threading.active_count()
    await site.run({1: {"queue": "count", "output": 2}, 2: {"queue": "keep"}})
    assert threading.active_count() <= before + 1


async def test_a_step_that_breaks_midway_and_is_tried_again_is_not_heard_twice(site):
    tries = []

    @stream_step(
        queue="watch",
        parameters=StepParameters,
        outputs=("every",),
        default_output="every",
        retries=Retries(first_pause_s=0.01),
    )
    async def watch(parameters, inbox, context):
        async for message in inbox:
            tries.append(message.number)
            for number in range(10):
                if len(tries) < 3 and number == 3 * len(tries):
                    raise PassingFault("the file system is away")
                yield Send(number, "every", follows=message)
            context.done(message)

    records = await site.run({1: {"queue": "watch", "output": 2}, 2: {"queue": "keep"}}, watch)
    assert [message.payload for message in site.kept] == list(range(10))
    assert tries == [1, 1, 1]
    assert (records[1].received, records[1].retried, records[1].sent["every"]) == (1, 2, 10)


async def test_messages_refused_in_the_same_words_one_after_another_are_logged_once(site, caplog):
    @message_step(queue="refuse", parameters=StepParameters)
    def refuse(parameters, message, context):
        raise MessageRefused("bad master" if message.payload < 90 else f"bad image {message.payload}")

    records = await site.run({1: {"queue": "count", "output": 2}, 2: {"queue": "refuse"}, "start": [[1, 92]]}, refuse)
    lines = [record.getMessage().partition(": ")[2] for record in caplog.records if record.levelname == "ERROR"]
    assert lines == [f"MessageRefused: {reason}" for reason in ("bad master", "bad image 90", "bad image 91")]
    assert records[2].refused == len(site.refused) == 92
