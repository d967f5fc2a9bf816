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

    That is what operators have re-injected or else, if the run had come to its end, what was refused in it; and always
    a message that was refused for others too, since these wait and are delivered. A dead letter whose message was sent
    once more already is left by a process that was killed before it could remove it.
    """
    state = replay(read_journal(folder.journal))
    if not state.all:
        return None
    reinjected = read_reinjected(folder)
    refused = list(dead_letters.all(folder.recipe_run))
    is_every_one_tried = state.ended and not reinjected
    wanted = [letter for letter in refused if is_every_one_tried or letter.others is not None]
    # By number: one that an operator re-injects, killed before it could be removed, stands in both places
    numbered = {letter.number: letter for letter in [*wanted, *reinjected.values()]}
    chosen = [letter for letter in numbered.values() if _is_open(state, letter)]
    if chosen:
        sends = send_again(state, [_delivery(state, dead_letter) for dead_letter in chosen])
        journal.record(Sent(time.time(), 0, sends))
        journal.flush()
        state = replay(read_journal(folder.journal))
    for file, dead_letter in reinjected.items():
        if not _is_open(state, dead_letter):
            file.unlink(missing_ok=True)
    for dead_letter in refused:
        # Waiting: killed after the dead letter was kept, and before the journal knew that its message is refused
        if not _is_open(state, dead_letter) or dead_letter.number in state.waiting:
            dead_letters.remove(dead_letter)
    return state


def _is_open(state: RunState, dead_letter: DeadLetter) -> bool:
    """Tell whether a dead letter's message still waits for somebody to deal with it."""
    message = state.all.get(dead_letter.number)
    if message is None:  # what the journal doesn't know was sent once more if something came of it
        return all(delivery.again != dead_letter.number for delivery in state.all.values())
    return dead_letter.number in state.refused[message.node] or dead_letter.number in state.waiting


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
    UnknownRecipeRun
        It never came to run its recipe.
    """
    manifest = read_manifest(folder)
    recipe = manifest.filled_recipe()
    if node not in recipe.nodes:
        known = ", ".join(map(str, sorted(recipe.nodes)))
        raise RecipeError(f"recipe {manifest.recipe} has no node {node}; its nodes: {known}")
    with Journal(folder.journal) as journal:
        nodes = reachable(recipe, [node])
        state = take_up(folder, journal, dead_letters) or RunState()  # what operators changed in a dead letter counts
        if changes:
            manifest.with_changes(node, changes).write(folder)
        journal.record(Repeated(time.time(), sorted(nodes), send_again(state, _inputs(state, nodes))))
    for dead_letter in dead_letters.all(folder.recipe_run):
        if dead_letter.node in nodes:  # it'll come again, if at all
            dead_letters.remove(dead_letter)
    for file, dead_letter in read_reinjected(folder).items():
        if dead_letter.node in nodes:
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


def _delivery(state: RunState, dead_letter: DeadLetter) -> Delivery:
    """Return a dead letter as the message that it was, with what an operator changed."""
    old = state.all.get(dead_letter.number)
    return Delivery(
        dead_letter.number,
        dead_letter.node,
        source=0,
        payload=dead_letter.payload,
        environment=dead_letter.environment,
        sent_at=dead_letter.at,
        due=None,
        again=old.again if old else dead_letter.number,
        history=[*dead_letter.history],
    )
