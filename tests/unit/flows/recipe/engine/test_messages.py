"""Where the engine takes messages, and when: Zocalo's table of routing, delays, what steps say of their messages."""

import asyncio
import threading
import time

import pytest

from blocks.errors import MessageRefused
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.run_state import replay
from tasks.step import Send, StepParameters, message_step, stream_step
from tests.support.engine_runs import Engine


@pytest.fixture
def engine():
    return Engine()


def sender(default, *outputs):
    """Make a step that sends once on each of these outputs; None is the unnamed one."""

    @message_step(queue="send", parameters=StepParameters, outputs=("a", "b"), default_output=default)
    async def send(parameters, message, context):
        return [Send(f"on {output}", output) for output in outputs]

    return send


@pytest.mark.parametrize("default", [None, "a"])
@pytest.mark.parametrize(
    ("links", "unnamed", "on_a", "unnamed_by_default", "on_a_by_default"),
    [
        (None, [], [], [], []),
        ([], [], [], [], []),
        (2, [2], [], [2], [2]),
        ([2, 3], [2, 3], [], [2, 3], [2, 3]),
        ([3, 3], [3, 3], [], [3, 3], [3, 3]),
        ({"a": 2}, [], [2], [2], [2]),
        ({"a": [2, 3], "b": 3}, [], [2, 3], [2, 3], [2, 3]),
        ({"b": [2, 3]}, [], [], [], []),
        ({"a": [3, 3]}, [], [3, 3], [3, 3], [3, 3]),
        ({"a": None, "b": 2}, [], [], [], []),
    ],
)
async def test_messages_go_where_zocalo_sends_them(
    engine, default, links, unnamed, on_a, unnamed_by_default, on_a_by_default
):
    expected = {
        "on None": unnamed_by_default if default else unnamed,
        "on a": on_a_by_default if default else on_a,
        "on misspelt": [],
    }
    targets = {2: [], 3: []}

    def target(number):
        @message_step(queue=f"target-{number}", parameters=StepParameters)
        async def take(parameters, message, context):
            targets[number].append(message.payload)
            return ()

        return take

    document = {1: {"queue": "send", "output": links}, 2: {"queue": "target-2"}, 3: {"queue": "target-3"}}
    records = await engine.run(document, sender(default, None, "a", "misspelt"), target(2), target(3))
    for number, taken in targets.items():
        assert taken == [what for what, to in expected.items() for node in to if node == number]
        assert records[number].state == ("done" if taken else "not needed")


async def test_a_value_in_the_environment_is_known_downstream_of_its_send_alone(engine):
    @message_step(queue="tag", parameters=StepParameters, outputs=("a", "b"))
    async def tag(parameters, message, context):
        return [Send("tagged", "a", {**message.environment, "program": 7}), Send("plain", "b")]

    document = {
        1: {"queue": "tag", "output": {"a": 2, "b": 3}},
        2: {"queue": "pass", "output": 4},
        3: {"queue": "pass", "output": 4},
        4: {"queue": "keep"},
    }
    await engine.run(document, tag)
    known = {message.payload: message.environment for message in engine.kept}
    assert known == {"tagged": {"ID": "run-1", "program": 7}, "plain": {"ID": "run-1"}}


class Clock:
    """Steps that send with delays and note when their messages arrive."""

    def __init__(self, delay):
        self.arrived = {}
        self.sent = 0.0

        @message_step(queue="send-later", parameters=StepParameters, outputs=("next",), default_output="next")
        async def send_later(parameters, message, context):
            self.sent = time.monotonic()
            return [Send(message.payload, delay=delay)]

        @message_step(queue="note", parameters=StepParameters)
        async def note(parameters, message, context):
            self.arrived[message.payload] = time.monotonic() - self.sent
            return ()

        self.steps = send_later, note


@pytest.mark.parametrize(
    ("explicit", "of_node", "at_least"),
    [
        (None, 0.1, 0.1),
        (None, "0.1", 0.1),
        (0.1, 30, 0.1),
        (0, 30, 0),
        (0.1, None, 0.1),
        (-0.1, 30, 0),
        (None, None, 0),
    ],
)
async def test_a_send_s_own_delay_counts_before_the_node_s(engine, explicit, of_node, at_least):
    clock = Clock(explicit)
    document = {1: {"queue": "send-later", "output": 2}, 2: {"queue": "note", "transport-delay": of_node}}
    await engine.run(document, *clock.steps)
    assert at_least <= clock.arrived[5] < 20


async def test_the_start_s_messages_are_delayed_too(engine):
    clock = Clock(None)
    clock.sent = time.monotonic()
    await engine.run({1: {"queue": "note", "transport-delay": 0.1}}, *clock.steps)
    assert clock.arrived[5] >= 0.1


@pytest.mark.parametrize("delay", [float("inf"), "soon"])
async def test_a_delay_that_can_not_be_kept_refuses_the_message(engine, delay):
    clock = Clock(delay)
    records = await engine.run({1: {"queue": "send-later", "output": 2}, 2: {"queue": "note"}}, *clock.steps)
    assert records[1].refused == 1
    assert clock.arrived == {}


async def test_a_delayed_message_keeps_its_due_time_when_the_run_is_taken_up_again(engine, tmp_path):
    delay = 1.5
    clock = Clock(delay)
    document = {1: {"queue": "send-later", "output": 2}, 2: {"queue": "note"}}
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        running = asyncio.create_task(engine.run(document, *clock.steps, journal=journal))
        while not path.stat().st_size or len(list(read_journal(path))) < 2:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert clock.arrived == {}
    with Journal(path) as journal:
        await engine.run(document, *clock.steps, journal=journal, state=replay(read_journal(path)))
    assert delay <= clock.arrived[5] < 20


async def test_a_message_that_is_overdue_when_the_run_is_taken_up_comes_at_once(engine, tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.record({"at": 1.0, "node": 0, "sends": [{"to": [[1, 1, 2.0]], "output": None, "payload": "late"}]})
    clock = Clock(None)
    clock.sent = time.monotonic()
    with Journal(path) as journal:
        await engine.run({1: {"queue": "note"}}, *clock.steps, journal=journal, state=replay(read_journal(path)))
    assert clock.arrived["late"] < 20


async def test_other_messages_overtake_a_delayed_one(engine):
    @stream_step(queue="mixed", parameters=StepParameters, outputs=("next",), default_output="next")
    async def mix(parameters, inbox, context):
        async for message in inbox:
            yield Send("late", follows=message, delay=0.5)
            yield Send("early", follows=message)

    await engine.run({1: {"queue": "mixed", "output": 2}, 2: {"queue": "keep"}}, mix)
    assert engine.kept.payloads == ["early", "late"]


def speaking(function):
    """Make a stream step that calls `function(context, message)` in a thread for each message."""

    @stream_step(queue="speak", parameters=StepParameters)
    async def speak(parameters, inbox, context):
        async for message in inbox:
            await asyncio.to_thread(function, context, message)
        return
        yield

    return speak


REFUSAL = MessageRefused("no")


@pytest.mark.parametrize(
    ("says", "refused", "done", "left"),
    [
        (lambda context, message: context.done(message), 0, 5, 0),
        (lambda context, message: (context.done(message), context.done(message)), 0, 5, 0),
        (lambda context, message: context.refuse(message, REFUSAL), 5, 0, 0),
        (lambda context, message: (context.refuse(message, REFUSAL), context.refuse(message, REFUSAL)), 5, 0, 0),
        (lambda context, message: (context.refuse(message, REFUSAL), context.done(message)), 5, 0, 0),
        (lambda context, message: (context.done(message), context.refuse(message, REFUSAL)), 0, 5, 0),
        (lambda context, message: context.leave_undone([message], "no"), 0, 0, 5),
        (lambda context, message: (context.leave_undone([message], "no"), context.done(message)), 0, 0, 5),
        (lambda context, message: (context.done(message), context.leave_undone([message], "no")), 0, 5, 0),
        (lambda context, message: None, 0, 0, 5),
    ],
)
async def test_what_is_said_first_of_a_message_counts_also_from_a_thread(engine, tmp_path, says, refused, done, left):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        records = await engine.run(
            {1: {"queue": "count", "output": 2}, 2: {"queue": "speak", "error": 3}, 3: {"queue": "keep"}},
            speaking(says),
            journal=journal,
        )
    assert records[2].refused == len(engine.refused) == len(engine.kept) == refused
    state = replay(read_journal(path))
    assert (len(state.refused[2]), state.done[2], len(state.left[2]), len(state.waiting)) == (refused, done, left, left)


async def test_steps_that_are_stuck_hold_no_other_up(engine):
    """Be there more of them than asyncio has threads for all."""
    stuck, is_free = 40, threading.Event()

    @message_step(queue="wait", parameters=StepParameters)
    def wait(parameters, message, context):
        if not is_free.wait(60):
            raise TimeoutError
        return ()

    @message_step(queue="free", parameters=StepParameters)
    def free(parameters, message, context):
        is_free.set()
        return ()

    nodes = {number: {"queue": "wait"} for number in range(1, stuck + 1)}
    start = [[number, 0] for number in range(1, stuck + 2)]
    records = await engine.run({**nodes, stuck + 1: {"queue": "free"}, "start": start}, wait, free)
    assert {(record.state, record.retried) for record in records.values()} == {("done", 0)}


async def test_a_thread_that_outlives_its_step_does_no_harm(engine, tmp_path):
    """It speaks when the step has ended and said nothing, so that its messages are left undone."""
    goes_on, threads = threading.Event(), []

    @stream_step(queue="leave", parameters=StepParameters)
    async def leave(parameters, inbox, context):
        def speak_late(message):
            goes_on.wait(60)
            context.refuse(message, REFUSAL)

        async for message in inbox:
            threads.append(threading.Thread(target=speak_late, args=(message,)))
            threads[-1].start()
        return
        yield

    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        records = await engine.run({1: {"queue": "leave"}}, leave, journal=journal)
    size = path.stat().st_size
    goes_on.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    assert (records[1].left, records[1].refused) == (1, 0)
    assert path.stat().st_size == size


async def test_an_answer_that_is_no_json_refuses_its_message_and_the_rest_go_on(engine, tmp_path):
    """With a journal, in which it can't be written; what was sent before it is."""

    @message_step(queue="odd", parameters=StepParameters, outputs=("next",), default_output="next")
    async def answer_oddly(parameters, message, context):
        return [Send(0), Send({(1, 2): 3} if message.payload == 2 else message.payload)]

    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        records = await engine.run(
            {1: {"queue": "count", "output": 2}, 2: {"queue": "odd", "output": 3}, 3: {"queue": "keep"}},
            answer_oddly,
            journal=journal,
        )
    assert engine.kept.payloads == [0, 0, 0, 1, 0, 3, 0, 4]
    assert records[2].refused == 1
    assert "keys must be str" in records[2].first_refusal
    assert not replay(read_journal(path)).waiting


async def test_a_dead_letter_that_can_not_be_kept_takes_nothing_with_it(engine, caplog):
    class Unwilling(list):
        def append(self, refusal):
            raise RuntimeError("no room")

    @message_step(queue="never", parameters=StepParameters)
    async def never(parameters, message, context):
        raise REFUSAL

    engine.refused = Unwilling()
    document = {1: {"queue": "count", "output": 2}, 2: {"queue": "never", "error": 3}, 3: {"queue": "keep"}}
    records = await engine.run(document, never)
    assert records[2].refused == len(engine.kept) == 5
    assert "can't be kept as a dead letter" in caplog.text


async def test_a_step_that_cancels_itself_has_failed_and_holds_nobody_up(engine):
    @stream_step(queue="cancel", parameters=StepParameters, outputs=("next",), default_output="next")
    async def cancel(parameters, inbox, context):
        async for _ in inbox:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task
        yield Send(0)

    document = {1: {"queue": "cancel", "output": 2, "error": 3}, 2: {"queue": "keep"}, 3: {"queue": "keep"}}
    records = await engine.run(document, cancel)
    assert records[1].first_refusal.startswith("CancelledError")
    assert [record.state for record in records.values()] == ["failed", "not needed", "done"]


async def test_a_step_that_exits_refuses_its_message_whatever_its_kind(engine):
    @message_step(queue="quick-exit", parameters=StepParameters)
    async def leave(parameters, message, context):
        raise SystemExit("no licence")

    @stream_step(queue="exit", parameters=StepParameters)
    async def leave_stream(parameters, inbox, context):
        async for _ in inbox:
            raise SystemExit("no licence")
        yield

    document = {1: {"queue": "quick-exit"}, 2: {"queue": "exit"}, "start": [[1, 0], [2, 0]]}
    records = await engine.run(document, leave, leave_stream)
    assert [record.first_refusal for record in records.values()] == ["SystemExit: no licence"] * 2
