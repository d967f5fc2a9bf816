"""What a step notes of its work is kept with the run, adds up over its processes, and is seen wherever a run is."""

import json
import logging

import pytest

from flows.cli.runs.output import HistoryPrinter, as_document
from flows.recipe.drawing.run_page import RunPage
from flows.recipe.publishing import _step_table
from flows.recipe.run_record.entries import Noted
from flows.recipe.run_record.history import read_history
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.resumption import repeat_from
from flows.recipe.run_record.run_state import replay
from tasks.step import Note, Send, StepParameters, message_step, stream_step
from tests.support.engine_runs import Engine
from tests.support.runs_taken_up import Run

DOCUMENT = {
    1: {"queue": "count", "output": 2},
    2: {"queue": "measure", "output": 3},
    3: {"queue": "keep"},
    "start": [[1, 4]],
}


class Measuring:
    """Makes the step `measure`: it notes each message, and whether it's odd; it ends after some."""

    def __init__(self):
        self.before, self.warned = [], []

    def step(self, bad=(), warns=False):
        @stream_step(queue="measure", parameters=StepParameters, outputs=("next",), default_output="next")
        async def measure(parameters, inbox, context):
            self.before.append(dict(context.noted_before))
            self.warned.append(set(context.warned_before))
            async for message in inbox:
                if message.payload in bad:
                    context.refuse(message, ValueError("bad"))
                    continue
                context.note(Note("numbers"))
                if message.payload % 2:
                    context.note(Note("numbers are odd", of="numbers", is_warning=warns))
                yield Send(message.payload, follows=message, completes=(message,))

        return measure


@pytest.fixture
def measuring():
    return Measuring()


async def test_notes_are_in_the_journal_and_in_the_run_s_log(tmp_path, measuring, caplog):
    caplog.set_level(logging.INFO)
    with Journal(tmp_path / "journal.jsonl") as journal:
        progress = await Engine().run(DOCUMENT, measuring.step(), journal=journal)
    assert progress[2].notes.lines() == ["4 numbers", "2 of 4 numbers are odd"]
    state = replay(read_journal(tmp_path / "journal.jsonl"))
    assert state.notes[2] == progress[2].notes
    assert "4 numbers; 2 of 4 numbers are odd" in [record.getMessage() for record in caplog.records]


async def test_a_note_stands_with_the_message_that_is_done_in_one_write(tmp_path, measuring, monkeypatch):
    """So that a process that is killed neither loses nor repeats it."""
    writes = []
    written = Journal._write

    def write(self):
        writes.append(bytes(self._waiting))
        written(self)

    monkeypatch.setattr(Journal, "_write", write)
    with Journal(tmp_path / "journal.jsonl") as journal:
        await Engine().run(DOCUMENT, measuring.step(), journal=journal)
    for content in writes:
        entries = [json.loads(line) for line in content.splitlines()]
        done = sum(len(entry.get("done", ())) for entry in entries if entry.get("node") == 2)
        noted = sum(
            note.get("count", 1)
            for entry in entries
            if entry["type"] == "noted"
            for note in entry["notes"]
            if note["text"] == "numbers"
        )
        assert done == noted


async def test_runs_that_are_taken_up_add_up(tmp_path, measuring):
    run = Run(tmp_path, DOCUMENT)
    assert (await run.go(measuring.step(bad={1, 2})))[0] == "Failed"
    assert run.progress[2].notes.counts() == {"numbers": 2, "numbers are odd": 1}
    assert (await run.go(measuring.step()))[0] == "Completed"
    assert run.progress[2].notes.lines() == ["4 numbers", "2 of 4 numbers are odd"]
    assert measuring.before == [{}, {"numbers": 2, "numbers are odd": 1}]
    assert read_history(run.folder).progress[2].notes == run.progress[2].notes


async def test_a_node_that_begins_anew_has_noted_nothing(tmp_path, measuring):
    run = Run(tmp_path, DOCUMENT)
    await run.go(measuring.step())
    repeat_from(run.folder, 2, {}, run.letters)
    await run.go(measuring.step())
    assert measuring.before == [{}, {}]
    assert run.progress[2].notes.counts() == {"numbers": 4, "numbers are odd": 2}


async def test_notes_of_a_thread_count(tmp_path):
    @message_step(queue="measure", parameters=StepParameters, outputs=("next",), default_output="next")
    def measure(parameters, message, context):
        context.note(Note("numbers"))
        return [Send(message.payload)]

    run = Run(tmp_path, DOCUMENT)
    await run.go(measure)
    assert read_history(run.folder).progress[2].notes.lines() == ["4 numbers"]


@pytest.mark.parametrize("warns", [True, False])
async def test_notes_are_seen_wherever_a_run_is(tmp_path, measuring, capsys, warns):
    run = Run(tmp_path, DOCUMENT)
    _, message = await run.go(measuring.step(warns=warns))
    said = "2 of 4 numbers are odd"
    assert (f"step 2 · measure: {said}" in message) == warns
    history = read_history(run.folder)
    HistoryPrinter(history, is_cut=True).print([1, 2, 3], 5, only_messages=False)
    assert said in capsys.readouterr().out
    [step] = [step for step in as_document(history, [], 0)["steps"] if step["node"] == 2]
    assert step["notes"][1] == {
        "text": "numbers are odd",
        "count": 2,
        "of": "numbers",
        "is_warning": warns,
        "words": said,
    }
    page = RunPage(run.manifest, run.folder, history.recipe).write(run.progress)
    assert f"- 2 · measure\\: {said}" in page
    assert said in _step_table(run.progress)[1]["notes"]


async def test_the_page_of_a_run_whose_steps_say_nothing_has_no_room_for_it(tmp_path):
    run = Run(tmp_path, {1: {"queue": "keep"}, "start": [[1, 4]]})
    await run.go()
    page = RunPage(run.manifest, run.folder, read_history(run.folder).recipe).write(run.progress)
    assert "say of their work" not in page
    assert not [entry for entry in read_journal(run.folder.journal) if isinstance(entry, Noted)]


async def test_what_was_warned_of_is_known_also_when_a_node_begins_anew(tmp_path, measuring):
    run = Run(tmp_path, DOCUMENT)
    await run.go(measuring.step(warns=True))
    repeat_from(run.folder, 2, {}, run.letters)
    await run.go(measuring.step())
    assert measuring.warned == [set(), {"numbers are odd"}]
    assert measuring.before == [{}, {}]
