"""Runs that several processes take up, one after the other, with a fan-in that may lack a message."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from blocks.errors import MessageRefused
from flows.recipe import run as recipe_run
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.outcome import final_state
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.entries import Began, Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.history import message_status, read_history
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.manifest import Manifest, read_manifest
from flows.recipe.run_record.resumption import take_up
from tasks.step import ABORT, Send, StepParameters, message_step, stream_step
from tasks.step.resources import Resources
from tests.support.engine_runs import Engine

TWO_OF_THREE = {
    1: {"queue": "count", "output": 2},
    2: {"queue": "pick", "output": 3},
    3: {"queue": "join", "output": {"all": 4}},
    4: {"queue": "keep"},
    "start": [[1, 3]],
}


class Run:
    """A run in a folder, with its dead letters; each `go` is a process that brings it to its end.

    Parameters
    ----------
    resources
        What its steps ask; those of no site if none are given.
    bad
        Payloads that the step `pick` can't use.
    """

    def __init__(self, path: Path, document: dict, resources: Resources | None = None) -> None:
        self.resources = resources
        self.folder, self.letters, self.document = RunFolder(path / "run-1"), DeadLetters(path / "letters"), document
        self.folder.path.mkdir(exist_ok=True)
        filled = {str(key): value for key, value in document.items()}
        self.manifest = Manifest("trial", "trial.json", "", 7, {}, {}, filled)
        self.manifest.write(self.folder)
        self.bad = {1}
        self.kept = Engine().kept

    async def go(self, *steps):
        """Return the state in which the run ends, and its message."""

        @message_step(queue="pick", parameters=StepParameters, outputs=("next",), default_output="next")
        async def pick(parameters, message, context):
            if message.payload in self.bad:
                raise MessageRefused("bad")
            return [Send(message.payload)]

        engine = Engine(self.resources)
        engine.refused = self
        with Journal(self.folder.journal) as journal:
            state = take_up(self.folder, journal, self.letters)
            journal.record(Began.now())
            self.progress = await engine.run(self.document, pick, *steps, journal=journal, state=state)
            ended = final_state(self.progress, recipe_from_document(self.document), self.folder.recipe_run)
            journal.record(Ended(time.time(), ended.name, ended.message))
        self.kept = engine.kept
        return ended.name, ended.message

    def append(self, refused):
        recipe_run._dead_letter_keeper(self.letters, self.manifest, self.folder)(refused)

    def read_document(self) -> dict[Any, Any]:
        """Return the recipe that its record has, with what operators changed."""
        recipe = read_manifest(self.folder).filled_recipe()
        return {**recipe.nodes, "start": recipe.start}

    def statuses(self, node):
        return [message_status(message).words for message in read_history(self.folder).messages_of(node)]


def join_of(end):
    """Make a fan-in of three messages that ends an incomplete inbox by `end(context, gathered)`, which may send."""

    @stream_step(queue="join", parameters=StepParameters, outputs=("all", ABORT), default_output="all")
    async def join(parameters, inbox, context):
        gathered = []
        async for message in inbox:
            gathered.append(message)
            if len(gathered) == 3:
                yield Send(sorted(message.payload for message in gathered), "all", completes=tuple(gathered))
                gathered = []
        for send in end(context, gathered) if gathered else ():
            yield send

    return join
