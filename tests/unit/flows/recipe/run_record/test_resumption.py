"""Runs that begin anew from a chosen step: each of its inputs comes once more, whatever happened before."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from blocks.errors import MessageRefused, RecipeError, RecipeRunBusy
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.entries import Began, Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.manifest import Manifest, read_manifest
from flows.recipe.run_record.resumption import repeat_from, take_up
from flows.recipe.run_record.run_state import replay
from tasks.step import Send, StepParameters, message_step
from tests.support.engine_runs import Engine
from tests.support.recipe_interpreter import assert_came_to, interpret
from tests.support.trial_world import MortalJournal, World, quiet_trial_steps, run_trial, trial_recipes

MESSAGES = 100


@contextmanager
def recorded(document: Mapping[str, Any], path: Path | None = None) -> Iterator[tuple[RunFolder, DeadLetters]]:
    """Have a run's folder, with its manifest, and the dead letters of a site."""
    with tempfile.TemporaryDirectory() as home:
        folder = RunFolder((path or Path(home)) / "run-1")
        folder.path.mkdir()
        Manifest("trial", "trial.json", "", 7, {}, {}, document).write(folder)
        yield folder, DeadLetters(folder.path.parent / "dead-letters")


class TestAnyRecipe:
    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def steps() -> Iterator[None]:
        with quiet_trial_steps():
            yield

    @settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60)
    @given(
        trial_recipes(),
        st.lists(st.floats(0, 1) | st.sampled_from(["end", "repeat", "repeat"]), min_size=1, max_size=6),
        st.data(),
    )
    def test_nodes_that_are_repeated_do_all_once_more_and_others_nothing(self, document, acts, data):
        """Whether it ended or was killed before, after it, or repeats twice.

        A recipe's own error nodes aren't repeated, but told again of what is refused again: left out here.
        """
        document["start"] += [[node, "heard"] for node in document.pop("error", ())]
        expected, world = interpret(document, MESSAGES), World()
        assume(expected is not None)
        assert expected is not None
        with recorded(document) as (folder, letters):
            with Journal(folder.path / "undisturbed.jsonl") as journal:
                run_trial(document, World(), journal)
            size = (folder.path / "undisturbed.jsonl").stat().st_size
            records: Any = None
            for act in [*acts, "end"]:
                if act == "repeat":
                    node = data.draw(st.sampled_from(sorted(expected.states)), label="repeated")
                    world.forget(repeat_from(folder, node, {}, letters))
                    continue
                world.is_alive = True
                bytes_left = 10**9 if act == "end" else int(act * size)
                with MortalJournal(folder.journal, world, bytes_left) as journal:
                    state = take_up(folder, journal, letters)
                    journal.record(Began.now())
                    records = run_trial(document, world, journal, state)
                    if world.is_alive:
                        journal.record(Ended(time.time(), "Failed"))
            assert_came_to(records, world, expected)
            assert not replay(read_journal(folder.journal)).waiting


DIAMOND = {
    1: {"queue": "count", "output": [2, 3]},
    2: {"queue": "pick", "output": 4},
    3: {"queue": "pass", "output": 4},
    4: {"queue": "gather", "output": 5},
    5: {"queue": "keep"},
    "start": [[1, 3], [4, "start"]],
}


def picky(bad: set[Any]) -> Any:
    """Make a step that can't use some payloads."""

    @message_step(queue="pick", parameters=StepParameters, outputs=("next",), default_output="next")
    async def pick(parameters, message, context):
        if message.payload in bad:
            raise MessageRefused("bad")
        return [Send(message.payload)]

    return pick


class Recorded:
    """A run of the diamond in a folder; each `go` is a process that brings it to its end."""

    def __init__(self, folder: RunFolder, letters: DeadLetters) -> None:
        self.folder, self.letters = folder, letters
        self.bad: set[Any] = set()

    async def go(self) -> list[Any]:
        """Return what the fan-in gathered, sorted as text, for each time that it did."""
        engine = Engine()
        with Journal(self.folder.journal) as journal:
            state = take_up(self.folder, journal, self.letters)
            journal.record(Began.now())
            await engine.run(DIAMOND, picky(self.bad), journal=journal, state=state)
            journal.record(Ended(time.time(), "Failed"))
        for refused in engine.refused:
            message = refused.message
            self.letters.put(
                DeadLetter(
                    *("run-1", message.number, "trial", 7, refused.node, "pick", "pick", message.payload),
                    *(message.environment, refused.error, "", refused.history, 1.0),
                )
            )
        return [sorted(map(str, gathered)) for gathered in engine.kept.payloads]

    def edit(self, number: int, payload: Any) -> DeadLetter:
        old = self.letters.get(f"run-1-{number}")
        new = structs.replace(old, payload=payload)
        self.letters.change(old, new)
        return new

    def repeat(self, node: int) -> set[int]:
        return repeat_from(self.folder, node, {}, self.letters)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Recorded]:
    document = {str(key): value for key, value in DIAMOND.items()}
    with recorded(document, tmp_path) as (folder, letters):
        yield Recorded(folder, letters)


WHOLE = ["0", "0", "1", "1", "2", "2", "start"]


async def test_a_fan_in_gets_what_its_feeders_sent_though_they_do_not_run_again(run):
    assert await run.go() == [WHOLE]
    assert run.repeat(4) == {4, 5}
    assert await run.go() == [WHOLE]


async def test_a_branch_that_is_repeated_does_not_double_what_comes_from_the_other(run):
    await run.go()
    assert run.repeat(2) == {2, 4, 5}
    assert await run.go() == [WHOLE]
    run.repeat(2)
    run.repeat(4)
    run.repeat(2)
    assert await run.go() == [WHOLE]


async def test_what_a_node_sent_before_it_began_anew_is_not_repeated(run):
    await run.go()
    run.repeat(1)
    assert await run.go() == [WHOLE]
    run.repeat(4)
    assert await run.go() == [WHOLE]


async def test_a_message_that_was_edited_is_repeated_as_it_was_edited(run):
    """Whether it was re-injected before, or only changed among the dead letters."""
    run.bad = {1}
    assert await run.go() == [["0", "0", "1", "2", "2", "start"]]
    [letter] = run.letters.all()
    run.edit(letter.number, 11)
    run.repeat(2)
    assert await run.go() == [["0", "0", "1", "11", "2", "2", "start"]]
    assert [*run.letters.all()] == []
    run.repeat(2)
    assert await run.go() == [["0", "0", "1", "11", "2", "2", "start"]]


async def test_a_message_that_waits_to_be_re_injected_is_repeated_once(run):
    run.bad = {1}
    await run.go()
    [letter] = run.letters.all()
    run.letters.reinject(run.edit(letter.number, 11), run.folder)
    run.repeat(2)
    assert not run.folder.has_reinjected
    assert await run.go() == [["0", "0", "1", "11", "2", "2", "start"]]


async def test_a_message_that_was_re_injected_reaches_a_fan_in_once_more_with_the_rest(run):
    run.bad = {1}
    await run.go()
    run.bad = set()
    assert await run.go() == [["1"]]  # what was refused was tried again; the fan-in had told the rest
    run.repeat(4)
    assert await run.go() == [WHOLE]


async def test_a_repeat_that_is_killed_is_repeated_whole_or_not_at_all(run):
    await run.go()
    before = run.folder.journal.read_bytes()
    run.repeat(2)
    after = run.folder.journal.read_bytes()
    assert after.startswith(before)
    for size in range(len(before), len(after)):
        run.folder.journal.write_bytes(after[:size])
        assert not replay(read_journal(run.folder.journal)).waiting
    run.folder.journal.write_bytes(after)
    assert len(replay(read_journal(run.folder.journal)).waiting) == 7


async def test_parameters_that_are_changed_for_a_repeat_stay_changed(run):
    await run.go()
    repeat_from(run.folder, 4, {"a": 1, "b": [2]}, run.letters)
    repeat_from(run.folder, 4, {"a": "3"}, run.letters)
    manifest = read_manifest(run.folder)
    assert manifest.filled_recipe().nodes[4]["parameters"] == {"a": "3", "b": [2]}
    assert [change["parameters"] for change in manifest.changes] == [{"a": 1, "b": [2]}, {"a": "3"}]
    assert manifest.filled_recipe() != recipe_from_document(DIAMOND)


def test_what_stands_beside_the_parameters_is_changed_there():
    node = {"queue": "reduce.xray_centering", "parameters": {"dcid": 7}, "gridinfo": {"steps_x": 0}, "output": {"a": 2}}
    manifest = Manifest("trial", "trial.json", "", 7, {}, {}, {"1": node})
    changes = {"gridinfo": {"steps_x": 3}, "output": "/x.json", "queue": "q", "dcid": 8}
    changed = manifest.with_changes(1, changes).filled["1"]
    parameters = {"dcid": 8, "output": "/x.json", "queue": "q"}
    assert changed == {**node, "gridinfo": {"steps_x": 3}, "parameters": parameters}


async def test_what_can_not_be_repeated_says_why_and_changes_nothing(run):
    await run.go()
    before = run.folder.journal.read_bytes()
    with pytest.raises(RecipeError, match=r"no node 9; its nodes: 1, 2, 3, 4, 5"):
        run.repeat(9)
    with Journal(run.folder.journal), pytest.raises(RecipeRunBusy):
        run.repeat(2)
    assert run.folder.journal.read_bytes() == before


async def test_a_run_that_never_began_can_be_repeated_and_begins(run):
    assert run.repeat(4) == {4, 5}
    assert await run.go() == [WHOLE]
