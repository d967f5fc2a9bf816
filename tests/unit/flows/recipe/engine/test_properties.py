"""Random recipes do what a small interpreter says, undisturbed or killed anywhere and taken up again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.run_state import RunState, replay
from tests.support.recipe_interpreter import ExpectedRun, assert_came_to, interpret
from tests.support.trial_world import RUN, MortalJournal, World, quiet_trial_steps, run_trial, trial_recipes

MESSAGES = 150  # at most in a recipe: beyond that an example takes long and shows nothing new

PROCESSES = 6


@pytest.fixture(autouse=True, scope="module")
def steps() -> Iterator[None]:
    with quiet_trial_steps():
        yield


def expected_of(document: dict[str, Any]) -> ExpectedRun:
    outcome = interpret(document, MESSAGES)
    assume(outcome is not None)
    assert outcome is not None
    event(f"messages: at least {2 ** outcome.received.total().bit_length() // 2}")
    return outcome


def finished(state: RunState) -> set[int]:
    """Return the numbers of messages that nobody should see again."""
    return state.all.keys() - state.waiting.keys()


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60)
@given(trial_recipes())
def test_a_recipe_does_what_the_interpreter_says(document):
    expected, world = expected_of(document), World()
    records = run_trial(document, world)
    assert records is not None
    assert_came_to(records, world, expected)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60)
@given(trial_recipes(), st.lists(st.floats(0, 1), min_size=1, max_size=PROCESSES))
def test_a_run_that_is_killed_anywhere_comes_to_the_same(document, kills):
    """Each process is killed when it has written a part of what an undisturbed run writes, be it within a line."""
    expected, world = expected_of(document), World()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "undisturbed.jsonl"
        with Journal(path) as journal:
            run_trial(document, World(), journal)
        size = path.stat().st_size
        path, records = Path(folder) / "journal.jsonl", None
        for kill in [*kills, None]:
            world.is_alive = True
            journal = Journal(path) if kill is None else MortalJournal(path, world, int(kill * size))
            with journal:
                state = replay(read_journal(path))
                world.finished = finished(state)
                records = run_trial(document, world, journal, state if state.all else None)
        event(f"processes: {len(kills) + 1}")
        assert records is not None
        assert world.again == []
        assert_came_to(records, world, expected)
        ended = replay(read_journal(path))
        assert not ended.waiting


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=60)
@given(trial_recipes(), st.floats(0, 1))
def test_what_is_left_of_a_journal_is_enough(document, kill):
    """A machine that loses power loses the end of the journal and what came of it."""
    expected, world = expected_of(document), World()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal(path) as journal:
            run_trial(document, world, journal)
        with path.open("r+b") as file:
            file.truncate(int(kill * path.stat().st_size))
        with Journal(path) as journal:
            state = replay(read_journal(path))
            kept = finished(state)
            world.finished = kept
            world.effects = {
                f"{RUN}/{number}": world.effects[f"{RUN}/{number}"]
                for number in kept
                if f"{RUN}/{number}" in world.effects
            }
            world.refusals = {number: refusal for number, refusal in world.refusals.items() if number in kept}
            records = run_trial(document, world, journal, state if state.all else None)
        assert world.again == []
        assert_came_to(records, world, expected)
