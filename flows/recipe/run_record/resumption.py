"""Go on with a recipe run: what had not completed, what was refused, or all from some step on.

Everything is a journal entry, so that it's known afterwards, and so that a crash in between does no harm.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterable, Mapping
from typing import Any

from blocks.errors import RecipeError
from flows.recipe.language.recipe import reachable
from flows.recipe.run_record.dead_letters import DeadLetter, DeadLetters, read_reinjected
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.manifest import read_logbook
from flows.recipe.run_record.replay import Delivery, Replay, replay


def take_up(folder: RunFolder, journal: Journal, letters: DeadLetters) -> Replay | None:
    """Return how far a run has come, with what is to be handled once more sent again; None for a run that is new.

    That is what operators have re-injected or else, if the run had come to its end, what was refused in it. A letter
    whose message was sent once more already is a leftover of a process that was killed before it could remove it.
    """
    state = replay(read_journal(folder.journal))
    if not state.all:
        return None
    reinjected = read_reinjected(folder)
    refused = list(letters.all(folder.recipe_run))
    if reinjected:
        chosen = [letter for letter in reinjected.values() if _is_open(state, letter)]
    else:
        chosen = [letter for letter in refused if state.ended and _is_open(state, letter)]
    if chosen:
        journal.record(send_again(state, [_delivery(state, letter) for letter in chosen]))
        journal.flush()
        state = replay(read_journal(folder.journal))
    for file, letter in reinjected.items():
        if not _is_open(state, letter):
            file.unlink(missing_ok=True)
    for letter in refused:
        if not _is_open(state, letter) or letter.number in state.waiting:  # killed before the journal knew of it
            letters.remove(letter)
    return state


def _is_open(state: Replay, letter: DeadLetter) -> bool:
    """Tell whether a letter's message still waits for somebody to deal with it."""
    message = state.all.get(letter.number)
    if message is None:  # what the journal doesn't know was sent once more if something came of it
        return all(delivery.again != letter.number for delivery in state.all.values())
    return letter.number in state.refused[message.node] or letter.number in state.waiting


def send_again(state: Replay, deliveries: Iterable[Delivery]) -> dict[str, Any]:
    """Return the journal entry by which messages are sent once more, under new numbers."""
    sends = []
    for number, delivery in enumerate(deliveries, state.next_number):
        send = {
            "to": [(delivery.node, number)],
            "payload": delivery.payload,
            "again": delivery.again,
            "replaces": delivery.number,
            "history": delivery.history,
        }
        if delivery.environment is not None:
            send["environment"] = delivery.environment
        sends.append(send)
    return {"at": time.time(), "node": 0, "sends": sends}


def repeat_from(folder: RunFolder, node: int, changes: Mapping[str, Any], letters: DeadLetters) -> set[int]:
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
    logbook = read_logbook(folder)
    recipe = logbook.filled_recipe()
    if node not in recipe.nodes:
        known = ", ".join(map(str, sorted(recipe.nodes)))
        raise RecipeError(f"recipe {logbook.recipe} has no node {node}; its nodes: {known}")
    with Journal(folder.journal) as journal:
        nodes = reachable(recipe, [node])
        state = take_up(folder, journal, letters) or Replay()  # what operators changed in a letter counts
        if changes:
            logbook.with_changes(node, changes).write(folder)
        journal.record({"repeated": sorted(nodes), **send_again(state, _inputs(state, nodes))})
    for letter in letters.all(folder.recipe_run):
        if letter.node in nodes:  # it'll come again, if at all
            letters.remove(letter)
    for file, letter in read_reinjected(folder).items():
        if letter.node in nodes:
            file.unlink(missing_ok=True)
    return nodes


def _inputs(state: Replay, nodes: set[int]) -> list[Delivery]:
    """Return what came to some nodes from others, each message as it was last sent."""
    latest: dict[int, Delivery] = {}
    for delivery in state.all.values():
        first = state.all.get(delivery.again, delivery)
        if delivery.node in nodes and first.source not in nodes and not first.is_void:
            latest[delivery.again] = delivery
    return [*latest.values()]


def _delivery(state: Replay, letter: DeadLetter) -> Delivery:
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
        history=[dict(entry) for entry in letter.history],
    )


def is_work_left(folder: RunFolder) -> bool:
    """Tell whether a run that is not at work has yet to come to its end, or messages wait for it since."""
    state = replay(read_journal(folder.journal))
    return not state.ended or bool(state.waiting) or folder.has_reinjected


def is_at_work(folder: RunFolder) -> bool:
    """Tell whether a process has the run."""
    try:
        journal = folder.journal.open("rb")  # who may read it may ask
    except FileNotFoundError:
        return False
    with journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
