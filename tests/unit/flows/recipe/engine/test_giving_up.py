"""A fan-in that gives up: whatever it says of what it has gathered, a run without its answer isn't called completed."""

import asyncio

import pytest

from blocks.errors import MessageRefused
from flows.cli.runs.output import HistoryPrinter
from flows.recipe.run_record.history import read_history
from flows.recipe.run_record.resumption import repeat_from
from tasks.step import ABORT, Send, StepParameters, message_step, stream_step
from tests.support.runs_taken_up import TWO_OF_THREE, Run, join_of

LINKED = {**TWO_OF_THREE, 3: {"queue": "join", "output": {"all": 4, ABORT: 5}}, 5: {"queue": "pass"}}
SILENT = {**TWO_OF_THREE, 2: {"queue": "less", "output": 3}}  # nothing is refused: one just isn't there


@pytest.fixture
def make_run(tmp_path):
    return lambda document=SILENT: Run(tmp_path, document)


def less_than(run):
    """Make a step that loses what is bad, so that nobody but the fan-in can say that it's missing."""

    @message_step(queue="less", parameters=StepParameters, outputs=("next",), default_output="next")
    async def less(parameters, message, context):
        return [] if message.payload in run.bad else [Send(message.payload)]

    return less


def abort_then_done(context, gathered):
    yield Send({}, ABORT)
    for message in gathered:
        context.done(message)


def abort_in_answer_then_done(context, gathered):
    yield Send({}, ABORT, follows=gathered[-1])
    for message in gathered:
        context.done(message)


def done_then_abort(context, gathered):
    for message in gathered:
        context.done(message)
    yield Send({}, ABORT, follows=gathered[-1])


def abort_all(context, gathered):
    yield Send({}, ABORT, completes=tuple(gathered))


def done_then_abort_all(context, gathered):
    for message in gathered:
        context.done(message)
    yield from abort_all(context, gathered)


def abort_one_and_done(context, gathered):
    yield Send({}, ABORT, follows=gathered[-1], completes=(gathered[-1],))
    for message in gathered[:-1]:
        context.done(message)


ENDS = [abort_then_done, abort_in_answer_then_done, done_then_abort, abort_all, done_then_abort_all, abort_one_and_done]
IN_VAIN = "the step join has given up, and its output abort leads nowhere"


@pytest.mark.parametrize("end", ENDS)
async def test_an_abort_that_leads_nowhere_fails_and_what_was_gathered_comes_again(make_run, end):
    run = make_run()
    state, message = await run.go(less_than(run), join_of(end))
    assert state == "Failed"
    assert f"step 3 · join: 2 of 2 messages left undone: {IN_VAIN}" in message
    assert "what didn't come is looked for once more by `plaza resume run-1 --from 1`" in message
    assert (await run.go(less_than(run), join_of(end)))[0] == "Failed"
    run.bad.clear()
    repeat_from(run.folder, 1, {}, run.letters)
    assert (await run.go(less_than(run), join_of(end)))[0] == "Completed"
    assert run.kept.payloads == [[0, 1, 2]]


@pytest.mark.parametrize("end", ENDS)
async def test_wherever_the_process_is_killed_it_is_not_called_completed(make_run, end):
    run = make_run()
    await run.go(less_than(run), join_of(end))
    lines = run.folder.journal.read_bytes().splitlines(keepends=True)
    for count in range(2, len(lines)):
        run.folder.journal.write_bytes(b"".join(lines[:count]))
        assert (await run.go(less_than(run), join_of(end)))[0] == "Failed"


async def test_a_step_that_says_itself_what_is_left_is_believed_of_what_is_done(make_run):
    def leave_all_but_one(context, gathered):
        context.done(gathered[-1])
        context.leave_undone(gathered[:-1], "one didn't come", ABORT)
        yield Send({}, ABORT, follows=gathered[0])

    run = make_run(LINKED)
    await run.go(join_of(leave_all_but_one))
    assert run.statuses(3) == ["undone, waits for the run to be taken up again", "done"]


@pytest.mark.parametrize("end", ENDS)
async def test_what_was_refused_completes_it(make_run, end):
    run = make_run(TWO_OF_THREE)
    assert "--from" not in (await run.go(join_of(end)))[1]
    run.bad.clear()
    assert (await run.go(join_of(end)))[0] == "Completed"
    assert run.kept.payloads == [[0, 1, 2]]


async def test_a_run_that_told_of_it_says_how_what_never_came_is_looked_for_once_more(make_run):
    run = make_run({**SILENT, 3: LINKED[3], 5: {"queue": "keep"}})
    state, message = await run.go(less_than(run), join_of(abort_all))
    assert (state, run.kept.payloads) == ("Completed", [{}])
    assert "step 3 · join left 2 messages undone: the step join has given up" in message
    assert "what didn't come is looked for once more by `plaza resume run-1 --from 1`" in message


@pytest.mark.parametrize("end", ENDS)
async def test_an_abort_that_a_node_hears_is_told_once_and_completed_by_what_was_refused(make_run, end):
    run = make_run(LINKED)
    aborts = []

    @message_step(queue="pass", parameters=StepParameters)
    async def hear(parameters, message, context):
        aborts.append(message.payload)

    assert "--from" not in (await run.go(join_of(end), hear))[1]  # what was refused comes by a plain resume
    assert run.progress[3].fault is None
    assert run.progress[3].left == 2
    await run.go(join_of(end), hear)
    run.bad.clear()
    assert (await run.go(join_of(end), hear))[0] == "Completed"
    assert run.kept.payloads == [[0, 1, 2]]
    assert aborts == [{}]


@pytest.mark.parametrize("pause_s", [0, 0.05])
async def test_what_is_recorded_as_done_is_not_taken_back_and_the_run_says_how_it_comes_again(make_run, pause_s):
    """Of a step that counts what comes, as Zocalo's do, and keeps nothing."""

    @message_step(queue="less", parameters=StepParameters, outputs=("next",), default_output="next")
    async def late(parameters, message, context):
        return [] if message.payload in run.bad else [Send(message.payload, delay=0.02 * message.payload)]

    @stream_step(queue="join", parameters=StepParameters, outputs=("all", ABORT), default_output="all")
    async def join(parameters, inbox, context):
        count = 0
        async for message in inbox:
            count += 1
            context.done(message)
        if pause_s:
            await asyncio.sleep(pause_s)  # until the last one is recorded too
        yield Send(count, "all" if count == 3 else ABORT)

    run = make_run()
    done = 2 if pause_s else 1
    for _ in range(2):  # by itself nothing comes: it doesn't turn green
        state, message = await run.go(late, join)
        assert state == "Failed"
        assert IN_VAIN in message
        again = "`plaza resume run-1 --from 3` has them come again"
        assert f"step 3 · join was done with {done} messages before: {again}" in message
        assert read_history(run.folder).progress[3].fault == run.progress[3].fault
    run.bad.clear()
    repeat_from(run.folder, 1, {}, run.letters)
    assert (await run.go(late, join))[0] == "Completed"
    assert run.kept.payloads == [3]


@pytest.mark.parametrize("kind", ["by default", "undeclared"])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_abort_is_one_by_whichever_way_it_is_sent(make_run, kind, is_stream):
    outputs, default, output = (("all", ABORT), ABORT, None) if kind == "by default" else (("all",), "all", ABORT)

    async def join_stream(parameters, inbox, context):
        gathered = [message async for message in inbox]
        yield Send({}, output, completes=tuple(gathered))

    async def join_message(parameters, message, context):
        return [Send({}, output)]

    make, join = (stream_step, join_stream) if is_stream else (message_step, join_message)
    run = make_run({**SILENT, 3: {"queue": "join"}})
    step = make(queue="join", parameters=StepParameters, outputs=outputs, default_output=default)(join)
    state, message = await run.go(less_than(run), step)
    assert (state, "2 of 2 messages left undone" in message) == ("Failed", True)


async def test_a_send_on_an_output_that_the_step_does_not_declare_is_told_once(make_run, caplog):
    @message_step(queue="join", parameters=StepParameters, outputs=("all", "select-*"), default_output="all")
    async def join(parameters, message, context):
        return [Send(1, "al"), Send(1, "select-7"), Send(1)]

    run = make_run()
    await run.go(less_than(run), join)
    told = [record.getMessage() for record in caplog.records if "doesn't declare" in record.getMessage()]
    assert told == ["the step join sends on the output 'al', which it doesn't declare: expected one of all, select-*"]


async def test_one_message_that_a_message_step_gives_up_leaves_the_others_alone(make_run):
    @message_step(queue="join", parameters=StepParameters, outputs=("all", ABORT), default_output="all")
    async def join(parameters, message, context):
        return [Send(message.payload, ABORT if message.payload == 0 else "all")]

    run = make_run()
    state, message = await run.go(less_than(run), join)
    assert (state, "1 of 2 messages left undone" in message) == ("Failed", True)
    assert run.kept.payloads == [2]


@pytest.mark.parametrize("told_on", ["all", ABORT, "typo"])
async def test_a_step_that_says_it_has_told_of_it_has_failed_if_it_has_not(make_run, told_on):
    def leave(context, gathered):
        context.leave_undone(gathered, "one didn't come", told_on)
        return ()

    run = make_run(LINKED)
    await run.go(join_of(leave))
    assert run.progress[3].fault == "2 of 2 messages left undone: one didn't come"


async def test_a_fan_in_that_breaks_at_its_end_costs_one_dead_letter_and_is_completed_by_what_was_refused(make_run):
    @stream_step(queue="join", parameters=StepParameters, outputs=("all",), default_output="all")
    async def join(parameters, inbox, context):
        gathered = [message async for message in inbox]
        if len(gathered) < 3:
            raise MessageRefused("one didn't come")
        yield Send(len(gathered), "all", completes=tuple(gathered))

    run = make_run(TWO_OF_THREE)
    for _ in range(2):
        state, message = await run.go(join)
        assert (state, "1 of 2 messages refused; the first: MessageRefused: one didn't come" in message) == (
            "Failed",
            True,
        )
        assert [letter.others for letter in run.letters.all() if letter.node == 3] == [1]
    run.bad.clear()
    assert (await run.go(join))[0] == "Completed"
    assert run.kept.payloads == [3]


class TestAFanInThatNoMessageComesTo:
    @pytest.fixture
    def steps(self):
        @stream_step(
            queue="join",
            parameters=StepParameters,
            outputs=("all",),
            default_output="all",
            without_messages=lambda parameters, node: node.get("lacks"),
        )
        async def join(parameters, inbox, context):
            gathered = [message async for message in inbox]
            yield Send(len(gathered), "all", completes=tuple(gathered))

        return join

    async def test_has_failed_if_it_lacks_them_until_some_come(self, make_run, steps, capsys):
        run = make_run({**SILENT, 3: {"queue": "join", "output": 4, "lacks": "nothing came"}})
        run.bad |= {0, 2}
        for _ in range(2):
            state, message = await run.go(less_than(run), steps)
            assert state == "Failed"
            assert message.startswith("step 3 · join: nothing came (what didn't come is looked for once more by ")
            history = read_history(run.folder).progress[3]
            assert (history.state, history.fault) == ("failed", "nothing came")
        HistoryPrinter(read_history(run.folder), is_cut=True).print([3], 5, only_messages=True)
        assert "without an answer: nothing came" in capsys.readouterr().out
        run.bad.clear()
        repeat_from(run.folder, 1, {}, run.letters)
        assert (await run.go(less_than(run), steps))[0] == "Completed"
        assert run.kept.payloads == [3]
        assert read_history(run.folder).progress[3].state == "done"

    async def test_is_not_needed_if_it_lacks_nothing(self, make_run, steps):
        run = make_run()
        run.bad |= {0, 2}
        assert (await run.go(less_than(run), steps))[0] == "Completed"
