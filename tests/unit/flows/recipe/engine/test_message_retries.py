"""Messages that are tried again: how often, who waits for them and who doesn't."""

import asyncio
import time
from collections import Counter
from itertools import pairwise

import pytest

from blocks.errors import MessageRefused, PassingFault
from flows.recipe.run_record.entries import Failed
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.run_state import replay
from tasks.step import Retries, Send, StepParameters, message_step, stream_step
from tests.support.engine_runs import Engine

SOON = Retries(tries=4, first_pause_s=0.02, longest_pause_s=0.04)


@pytest.fixture
def engine():
    return Engine()


class Stumbling:
    """Steps that fail with some payloads, so many times each, and note when they try."""

    def __init__(self, failures, retries=SOON, error=PassingFault):
        self.tries = Counter()
        self.at = {}

        def attempt(message):
            self.tries[message.payload] += 1
            self.at.setdefault(message.payload, []).append(time.monotonic())
            if self.tries[message.payload] <= failures.get(message.payload, 0):
                raise error("not now")

        options = {"parameters": StepParameters, "outputs": ("next",), "default_output": "next", "retries": retries}

        @message_step(queue="plain", **options)
        def plain(parameters, message, context):
            attempt(message)
            return [Send(message.payload)]

        @message_step(queue="quick", **options)
        async def quick(parameters, message, context):
            attempt(message)
            return [Send(message.payload)]

        @stream_step(queue="break", **options)
        async def break_down(parameters, inbox, context):
            async for message in inbox:
                attempt(message)
                yield Send(message.payload, follows=message, completes=(message,))

        @stream_step(queue="refuse", **options)
        async def refuse(parameters, inbox, context):
            async for message in inbox:
                try:
                    attempt(message)
                except Exception as fault:
                    context.refuse(message, fault)
                else:
                    yield Send(message.payload, follows=message, completes=(message,))

        @stream_step(queue="refuse-in-thread", **options)
        async def refuse_in_thread(parameters, inbox, context):
            async for message in inbox:
                try:
                    attempt(message)
                except Exception as fault:
                    await asyncio.to_thread(context.refuse, message, fault)
                else:
                    yield Send(message.payload, follows=message, completes=(message,))

        self.steps = plain, quick, break_down, refuse, refuse_in_thread


KINDS = ["plain", "quick", "break", "refuse", "refuse-in-thread"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_that_passes_costs_nothing_but_time_though_the_inbox_is_closed(engine, kind):
    """The only message waits for its next try when all that feeds the step have finished long ago."""
    trial = Stumbling({5: 3})
    records = await engine.run({1: {"queue": kind, "output": 2}, 2: {"queue": "keep"}}, *trial.steps)
    assert engine.kept.payloads == [5]
    assert trial.tries == {5: 4}
    assert (records[1].received, records[1].retried, records[1].refused) == (1, 3, 0)
    assert (records[1].state, records[2].state) == ("done", "done")


@pytest.mark.parametrize("kind", KINDS)
async def test_tries_end_with_a_dead_letter_that_knows_them_all(engine, kind):
    trial = Stumbling({5: 99})
    records = await engine.run(
        {1: {"queue": kind, "output": 2, "error": 3}, 2: {"queue": "keep"}, 3: {"queue": "keep"}}, *trial.steps
    )
    assert trial.tries == {5: 4}
    [refusal] = engine.refused
    assert [failure.error for failure in refusal.history] == ["PassingFault: not now"] * 4
    assert sorted(failure.at for failure in refusal.history) == [failure.at for failure in refusal.history]
    assert "not now" in refusal.traceback
    assert engine.kept.payloads == [
        {"payload": 5, "error": "PassingFault: not now", "node": 1, "step": refusal.step.name}
    ]
    assert records[1].fault == "1 of 1 messages refused; the first: PassingFault: not now"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_that_does_not_pass_is_not_tried_again(engine, kind):
    trial = Stumbling({5: 1}, error=MessageRefused)
    await engine.run({1: {"queue": kind, "output": 2}, 2: {"queue": "keep"}}, *trial.steps)
    assert trial.tries == {5: 1}
    assert engine.kept == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_that_the_step_names_is_tried_again(engine, kind):
    trial = Stumbling({5: 1}, error=LookupError, retries=Retries(on=(LookupError,), tries=2, first_pause_s=0.01))
    await engine.run({1: {"queue": kind, "output": 2}, 2: {"queue": "keep"}}, *trial.steps)
    assert engine.kept.payloads == [5]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_rest_of_the_stream_is_not_held_up(engine, kind):
    trial = Stumbling({0: 1, 3: 99}, retries=Retries(tries=2, first_pause_s=2.0))
    document = {1: {"queue": "count", "output": 2}, 2: {"queue": kind, "output": 3}, 3: {"queue": "keep"}}
    await engine.run({**document, "start": [[1, 300]]}, *trial.steps)
    assert engine.kept.payloads == [1, 2, *range(4, 300), 0]
    assert [refusal.message.payload for refusal in engine.refused] == [3]
    assert trial.at[299][0] < trial.at[0][1]


async def test_pauses_are_kept(engine):
    trial = Stumbling({5: 3}, retries=Retries(tries=4, first_pause_s=0.1, longest_pause_s=0.15))
    await engine.run({1: {"queue": "quick"}}, *trial.steps)
    at = trial.at[5]
    pauses = [after - before for before, after in pairwise(at)]
    for pause, longest in zip(pauses, (0.1, 0.15, 0.15), strict=True):
        assert longest / 2 <= pause < longest + 10


async def test_a_fan_in_waits_for_what_its_feeders_try_again(engine):
    trial = Stumbling({2: 3, 3: 99})
    document = {
        1: {"queue": "count", "output": [2, 3]},
        2: {"queue": "plain", "output": 4},
        3: {"queue": "pass", "output": 4},
        4: {"queue": "gather", "output": 5},
        5: {"queue": "keep"},
    }
    await engine.run(document, *trial.steps)
    [gathered] = engine.kept.payloads
    assert sorted(gathered) == [0, 0, 1, 1, 2, 2, 3, 4, 4]


@pytest.mark.parametrize(("error", "tries"), [(PassingFault, 3), (MessageRefused, 1)])
async def test_a_step_that_breaks_takes_all_that_it_holds_with_it_and_begins_anew_for_the_rest(engine, error, tries):
    seen = []

    @stream_step(queue="hold", parameters=StepParameters, retries=Retries(tries=3, first_pause_s=0.001))
    async def hold(parameters, inbox, context):
        held = []
        async for message in inbox:
            seen.append(message.payload)
            held.append(message)
            if message.payload == 1:
                context.done(message)
            if message.payload == 3:
                raise error("3")
        yield Send(None, completes=tuple(held))

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "hold", "error": 3}, 3: {"queue": "keep"}}
    records = await engine.run(document, hold)
    refused = [message["payload"] for message in engine.kept.payloads]
    assert 3 in refused
    assert 1 not in refused
    assert seen.count(1) == 1
    assert seen.count(3) == tries
    assert records[2].received == 5
    if error is MessageRefused:
        assert sorted(refused) == [0, 2, 3]


async def test_a_step_that_can_not_begin_tries_each_message_in_its_time(engine):
    """Nothing was taken when it failed: it's still the message's turn, not the end of the step."""
    begun = []

    @stream_step(queue="begin", parameters=StepParameters, retries=SOON)
    async def begin(parameters, inbox, context):
        begun.append(time.monotonic())
        if len(begun) <= 4:
            raise PassingFault("the database is away")
        async for message in inbox:
            yield Send(message.payload, completes=(message,))

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "begin"}}
    records = await engine.run(document, begin)
    assert (records[2].received, records[2].refused) == (5, 0)


async def test_a_step_that_takes_nothing_refuses_all(engine):
    @stream_step(queue="idle", parameters=StepParameters)
    async def idle(parameters, inbox, context):
        return
        yield

    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "idle"}}
    records = await engine.run(document, idle)
    assert records[2].refused == 5
    assert "ended without taking its messages" in records[2].first_refusal


async def test_a_message_that_waits_for_another_try_comes_when_the_run_is_taken_up_again(engine, tmp_path):
    """At once, and with as many tries as at first: who takes a run up again thinks that it'll do now."""
    document = {1: {"queue": "quick", "output": 2}, 2: {"queue": "keep"}}
    path = tmp_path / "journal.jsonl"
    trial = Stumbling({5: 5}, retries=Retries(tries=9, first_pause_s=3600))
    with Journal(path) as journal:
        running = asyncio.create_task(engine.run(document, *trial.steps, journal=journal))
        while not any(isinstance(entry, Failed) for entry in read_journal(path)):
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    trial = Stumbling({5: 99})
    with Journal(path) as journal:
        await engine.run(document, *trial.steps, journal=journal, state=replay(read_journal(path)))
    assert trial.tries == {5: 4}
    [refusal] = engine.refused
    assert len(refusal.history) == 5
