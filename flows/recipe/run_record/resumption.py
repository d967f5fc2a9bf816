"""Go on with a recipe run: what had not completed, what was refused, or all from some step on.

Everything is a journal entry, so that it's known afterwards, and so that a crash in between does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from blocks.errors import RecipeError
from flows.recipe.language.recipe import reachable
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
from flows.recipe.run_record.dead_letters.store import DeadLetters, read_reinjected
from flows.recipe.run_record.entries import Receiver, Repeated, Sent, SentMessage
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.manifest import read_manifest
from flows.recipe.run_record.run_state import Delivery, RunState, replay


def take_up(folder: RunFolder, journal: Journal, dead_letters: DeadLetters) -> RunState | None:
    """Return how far a run has come, with what is to be handled once more sent again; None for a run that is new.

    That is what operators have re-injected or else, if the run had come to its end, what was refused in it. A letter
    whose message was sent once more already is a leftover of a process that was killed before it could remove it.
    """
    state = replay(read_journal(folder.journal))
    if not state.all:
        return None
    reinjected = read_reinjected(folder)
    refused = list(dead_letters.all(folder.recipe_run))
    if reinjected:
        chosen = [letter for letter in reinjected.values() if _is_open(state, letter)]
    else:
        chosen = [letter for letter in refused if state.ended and _is_open(state, letter)]
    if chosen:
        sends = send_again(state, [_delivery(state, letter) for letter in chosen])
        journal.record(Sent(time.time(), 0, sends))
        journal.flush()
        state = replay(read_journal(folder.journal))
    for file, letter in reinjected.items():
        if not _is_open(state, letter):
            file.unlink(missing_ok=True)
    for letter in refused:
        if not _is_open(state, letter) or letter.number in state.waiting:  # killed before the journal knew of it
            dead_letters.remove(letter)
    return state


def _is_open(state: RunState, letter: DeadLetter) -> bool:
    """Tell whether a letter's message still waits for somebody to deal with it."""
    message = state.all.get(letter.number)
    if message is None:  # what the journal doesn't know was sent once more if something came of it
        return all(delivery.again != letter.number for delivery in state.all.values())
    return letter.number in state.refused[message.node] or letter.number in state.waiting


def send_again(state: RunState, deliveries: Iterable[Delivery]) -> list[SentMessage]:
    """Return messages as they're sent once more, under new numbers."""
    return [
        SentMessage(
            to=[Receiver(delivery.node, number)],
            payload=delivery.payload,
            environment=delivery.environment,
            again=delivery.again,
            replaces=delivery.number,
            history=delivery.history,
        )
        for number, delivery in enumerate(deliveries, state.next_number)
    ]


def repeat_from(folder: RunFolder, node: int, changes: Mapping[str, Any], dead_letters: DeadLetters) -> set[int]:
    """Have a node and all that follow it begin anew when the run is next taken up; return these nodes.

    Parameters
    ----------
    changes
        Parameters of the node that shall be others than before.

    Raises
    ------
    RecipeError
        The recipe has no such node.
    RecipeRunBusy
        The run is at work.
    """
    manifest = read_manifest(folder)
    recipe = manifest.filled_recipe()
    if node not in recipe.nodes:
        known = ", ".join(map(str, sorted(recipe.nodes)))
        raise RecipeError(f"recipe {manifest.recipe} has no node {node}; its nodes: {known}")
    with Journal(folder.journal) as journal:
        nodes = reachable(recipe, [node])
        state = take_up(folder, journal, dead_letters) or RunState()  # what operators changed in a letter counts
        if changes:
            manifest.with_changes(node, changes).write(folder)
        journal.record(Repeated(time.time(), sorted(nodes), send_again(state, _inputs(state, nodes))))
    for letter in dead_letters.all(folder.recipe_run):
        if letter.node in nodes:  # it'll come again, if at all
            dead_letters.remove(letter)
    for file, letter in read_reinjected(folder).items():
        if letter.node in nodes:
            file.unlink(missing_ok=True)
    return nodes


def _inputs(state: RunState, nodes: set[int]) -> list[Delivery]:
    """Return what came to some nodes from others, each message as it was last sent."""
    latest: dict[int, Delivery] = {}
    for delivery in state.all.values():
        first = state.all.get(delivery.again, delivery)
        if delivery.node in nodes and first.source not in nodes and not first.is_void:
            latest[delivery.again] = delivery
    return [*latest.values()]


def _delivery(state: RunState, letter: DeadLetter) -> Delivery:
    """Return a dead letter as the message that it was, with what an operator changed."""
    old = state.all.get(letter.number)
    return Delivery(
        letter.number,
        letter.node,
        source=0,
        payload=letter.payload,
        environment=letter.environment,
        sent_at=letter.at,
        due=None,
        again=old.again if old else letter.number,
        history=[*letter.history],
    )
