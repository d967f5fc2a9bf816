"""Messages that a node isn't done with when its inbox ends: they wait, the run says why, and they come again."""

import re

import pytest

from blocks.errors import NodeRefused
from flows.cli.runs.output import HistoryPrinter, as_document
from flows.recipe.drawing.run_drawing import counts
from flows.recipe.drawing.run_page import RunPage
from flows.recipe.run_record.history import read_history
from flows.recipe.run_record.resumption import repeat_from
from tasks.step import ABORT, Send, StepParameters, message_step, stream_step
from tests.support.checkout import CHECKOUT
from tests.support.runs_taken_up import TWO_OF_THREE, Run, join_of


@pytest.fixture
def make_run(tmp_path):
    return lambda document=TWO_OF_THREE: Run(tmp_path, document)


def leave(context, gathered):
    context.leave_undone(gathered, "one didn't come")
    return ()


def abort_and_leave(context, gathered):
    yield Send({}, ABORT, follows=gathered[0])
    context.leave_undone(gathered, "one didn't come", ABORT)


def abort_all(context, gathered):
    yield Send({}, ABORT, completes=tuple(gathered))


def say_nothing(context, gathered):
    return ()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (leave, "one didn't come"),
        (abort_and_leave, "one didn't come"),
        (abort_all, "the step join has given up, and its output abort leads nowhere"),
        (say_nothing, "the step join has ended without saying what became of them"),
    ],
)
async def test_a_fan_in_that_gives_up_fails_and_completes_when_what_was_missing_comes(make_run, end, reason):
    run, join = make_run(), join_of(end)
    state, message = await run.go(join)
    assert state == "Failed"
    assert f"step 3 · join: 2 of 2 messages left undone: {reason}" in message
    assert "`plaza resume run-1`" in message
    assert run.statuses(3) == ["undone, waits for the run to be taken up again"] * 2
    history = read_history(run.folder).progress[3]
    assert (history.state, history.left, history.fault) == ("failed", 2, run.progress[3].fault)
    assert (await run.go(join))[0] == "Failed"
    run.bad.clear()
    assert await run.go(join) == ("Completed", "4 steps done")
    assert run.kept.payloads == [[0, 1, 2]]
    assert set(run.statuses(3)) == {"done"}


async def test_it_is_shown_what_was_left_undone_and_why(make_run, capsys):
    run = make_run()
    await run.go(join_of(leave))
    history = read_history(run.folder)
    HistoryPrinter(history, is_cut=True).print([3], 5, only_messages=True)
    printed = capsys.readouterr().out
    assert "3 · join: 2 undone, waits for the run to be taken up again" in printed
    assert "left undone: one didn't come" in printed
    [step] = [step for step in as_document(history, [], None)["steps"] if step["node"] == 3]
    assert (step["state"], step["received"], step["left_undone"]) == ("failed", 2, 2)
    assert step["fault"] == "2 of 2 messages left undone: one didn't come"
    assert counts(history.progress[3]) == "2 in, 0 out, 2 undone"
    page = RunPage(run.manifest, run.folder, history.recipe).write(history.progress)
    assert re.search(r"3 · join \| failed \| 2 \|.*\| 0 \| 2 \| one didn't come \|", page)


@pytest.mark.parametrize("end", [abort_and_leave, abort_all])
async def test_an_abort_that_a_node_hears_is_an_answer_and_is_told_once(make_run, end):
    document = {**TWO_OF_THREE, 2: {"queue": "less", "output": 3}, 3: {"queue": "join", "output": {ABORT: 4}}}
    run = make_run(document)

    @stream_step(queue="less", parameters=StepParameters, outputs=("next",), default_output="next")
    async def pass_less(parameters, inbox, context):
        async for message in inbox:
            if message.payload in run.bad:
                context.done(message)
            else:
                yield Send(message.payload, completes=(message,))

    state, message = await run.go(pass_less, join_of(end))
    assert state == "Completed"
    assert run.kept.payloads == [{}]
    reason = "one didn't come" if end is abort_and_leave else "the step join has given up"
    assert f"step 3 · join left 2 messages undone: {reason}" in message
    assert len(read_history(run.folder).state.left[3]) == 2
    assert read_history(run.folder).progress[3].state == "done"
    assert (await run.go(pass_less, join_of(end)))[0] == "Completed"
    assert run.kept.payloads == []


async def test_a_message_that_a_step_gives_up_comes_again_and_what_was_sent_for_it_is_not_heard_twice(make_run):
    document = {1: {"queue": "try", "output": {"so-far": 2}}, 2: {"queue": "keep"}, "start": [[1, 5]]}
    run, tries = make_run(document), []

    @message_step(queue="try", parameters=StepParameters, outputs=("so-far", ABORT), default_output=None)
    async def attempt(parameters, message, context):
        tries.append(message.number)
        return [Send("begun", "so-far"), *([Send(None, ABORT)] if len(tries) < 3 else [])]

    assert [(await run.go(attempt))[0] for _ in range(3)] == ["Failed", "Failed", "Completed"]
    assert tries == [1, 1, 1]
    assert len(read_history(run.folder).messages_of(2)) == 1


async def test_a_result_that_leads_nowhere_is_known_to_have_been_told(make_run):
    """A fan-in whose answer is a file, say, doesn't wait for more when messages come late."""
    document = {**TWO_OF_THREE, 3: {"queue": "tell"}, "start": [[1, 3]]}
    run, told_before = make_run(document), []

    @stream_step(queue="tell", parameters=StepParameters, outputs=("all",), default_output="all")
    async def tell(parameters, inbox, context):
        told_before.append(dict(context.sent_before))
        messages = [message async for message in inbox]
        yield Send(None, "all", completes=tuple(messages))

    await run.go(tell)
    run.bad.clear()
    await run.go(tell)
    assert told_before == [{}, {"all": 1}]
    assert read_history(run.folder).progress[3].sent == {"all": 2}


STRICT = {
    1: {"queue": "count", "output": 2},
    2: {"queue": "strict", "output": 3, "error": 4},
    3: {"queue": "keep"},
    4: {"queue": "hear"},
    "start": [[1, 200]],
}


class Strict(StepParameters):
    wanted: int


class TestANodeThatCanUseNoMessage:
    @pytest.fixture(params=["parameters", "stream", "message"])
    def steps(self, request):
        """A step that can't use anything: for its parameters' sake, or as it finds out with the first message."""
        wrong = NodeRefused("parameter wanted: it's not there")
        self.heard = []

        @message_step(queue="hear", parameters=StepParameters)
        async def hear(parameters, message, context):
            self.heard.append(message.payload)
            return ()

        async def strict_stream(parameters, inbox, context):
            async for message in inbox:
                if "wanted" not in context.node.get("parameters", {}):
                    context.refuse(message, wrong)
                else:
                    yield Send(message.payload, completes=(message,))

        def strict_message(parameters, message, context):
            if "wanted" not in context.node.get("parameters", {}):
                raise wrong
            return [Send(message.payload)]

        kind, function = message_step, strict_message
        if request.param == "stream":
            kind, function = stream_step, strict_stream
        model = Strict if request.param == "parameters" else StepParameters
        return hear, kind(queue="strict", parameters=model, outputs=("next",), default_output="next")(function)

    async def test_costs_one_dead_letter_and_one_report_and_the_rest_wait_with_it(self, make_run, steps):
        run = make_run(STRICT)
        state, message = await run.go(*steps)
        assert state == "Failed"
        assert "1 of 200 messages refused; the first: NodeRefused: " in message
        assert "199 of 200 messages left undone: they wait with message " in message
        [letter] = run.letters.all()
        assert letter.others == 199
        assert "wanted" in letter.error
        assert len(self.heard) == 1
        assert sorted(set(run.statuses(2))) == ["refused", "undone, waits for the run to be taken up again"]

    async def test_is_one_dead_letter_however_often_its_run_is_taken_up(self, make_run, steps):
        run = make_run(STRICT)
        await run.go(*steps)
        for act in ("resume", "reinject", "kill"):
            [letter] = run.letters.all()
            if act == "reinject":
                run.letters.reinject(letter, run.folder)
            if act == "kill":  # it hadn't come to its end
                lines = run.folder.journal.read_bytes().splitlines(keepends=True)
                run.folder.journal.write_bytes(b"".join(line for line in lines if b'"ended"' not in line))
            await run.go(*steps)
            [letter] = run.letters.all()
            assert letter.others == 199
            assert (run.progress[2].received, run.progress[2].refused, run.progress[2].left) == (200, 1, 199)

    async def test_does_all_with_the_right_parameters(self, make_run, steps):
        run = make_run(STRICT)
        await run.go(*steps)
        repeat_from(run.folder, 2, {"wanted": 1}, run.letters)
        assert list(run.letters.all()) == []
        run.document = {**run.document, 2: {**run.document[2], "parameters": {"wanted": 1}}}
        assert (await run.go(*steps))[0] == "Completed"
        assert sorted(run.kept.payloads) == list(range(200))

    async def test_a_letter_that_somebody_has_dealt_with_does_not_come_back(self, make_run, steps, monkeypatch):
        run = make_run(STRICT)
        monkeypatch.setattr(run, "append", self.purge_at_once(run, run.append))
        await run.go(*steps)
        assert list(run.letters.all()) == []

    @staticmethod
    def purge_at_once(run, keep):
        def keep_and_purge(refused):
            keep(refused)
            for letter in run.letters.all():
                run.letters.purge(run.letters.file_of(letter))

        return keep_and_purge


async def test_the_fan_in_of_the_how_to_gives_its_answer_when_all_have_come(make_run):
    """Once, whatever comes late."""
    text = (CHECKOUT / "docs/how-to/add-a-step.md").read_text()
    [code] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "leave_undone" in block]

    class MeanParameters(StepParameters):
        expected: int = 3

    names = {"stream_step": stream_step, "Send": Send, "ABORT": ABORT, "MeanParameters": MeanParameters}
    exec(code, names)

    @message_step(queue="dose", parameters=StepParameters, outputs=("next",), default_output="next")
    async def dose(parameters, message, context):
        return [Send({"dose": message.payload})]

    nodes = {3: {"queue": "dose", "output": 4}, 4: {"queue": "i99.mean", "output": {"mean": 5}}, 5: {"queue": "keep"}}
    run = make_run({**TWO_OF_THREE, **nodes})
    state, message = await run.go(dose, names["average_doses"])
    assert (state, "1 doses didn't come" in message) == ("Failed", True)
    run.bad.clear()
    assert (await run.go(dose, names["average_doses"]))[0] == "Completed"
    assert run.kept.payloads == [1.0]


async def test_a_run_whose_fan_in_had_given_up_before_messages_could_be_left_says_how_it_is_completed(make_run):
    """Plaza 0.1 called what was gathered in vain done."""

    def give_up(context, gathered):
        for message in gathered:
            context.done(message)
        return ()

    run = make_run()
    await run.go(join_of(give_up))
    run.bad.clear()
    state, message = await run.go(join_of(leave))
    assert state == "Failed"
    assert "step 3 · join was done with 2 messages before: `plaza resume run-1 --from 3` has them come again" in message
    repeat_from(run.folder, 3, {}, run.letters)
    assert (await run.go(join_of(leave)))[0] == "Completed"
    assert run.kept.payloads == [[0, 1, 2]]
