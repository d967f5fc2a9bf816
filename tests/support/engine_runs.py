"""Run recipes of steps that a test makes up, with nothing of Prefect and with a journal if wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from flows.recipe.engine.node import RefusedMessage
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.progress import NodeProgress
from flows.recipe.run_record.run_state import RunState
from tasks.step import Message, Send, Step, StepParameters, message_step, registry, stream_step
from tasks.step.resources import Resources
from tests.support.fake_resources import FakeResources

TIMEOUT_S = 20


class Kept(list[Message]):
    """Messages that reached the end of a recipe."""

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self]


def keeper(kept: Kept) -> Step:
    """Make the step `keep`, where messages end."""

    @message_step(queue="keep", parameters=StepParameters)
    async def keep(parameters, message, context):
        kept.append(message)
        return ()

    return keep


@stream_step(queue="count", parameters=StepParameters, outputs=("every",), default_output="every")
async def count(parameters, inbox, context):
    """Send the numbers up to each message's."""
    async for message in inbox:
        for number in range(message.payload):
            yield Send(number, follows=message)
        context.done(message)


@stream_step(queue="gather", parameters=StepParameters, outputs=("all",), default_output="all")
async def gather(parameters, inbox, context):
    """Send all that came, when no more can come."""
    messages = [message async for message in inbox]
    yield Send([message.payload for message in messages], completes=tuple(messages))


@message_step(queue="pass", parameters=StepParameters, outputs=("next",), default_output="next")
async def pass_on(parameters, message, context):
    """Send what comes."""
    return [Send(message.payload)]


class Engine:
    """Runs recipes.

    Parameters
    ----------
    kept
        What reached the step `keep`.
    refused
        What was refused.
    resources
        What steps ask; FakeResources if none are given.
    """

    def __init__(self, resources: Resources | None = None) -> None:
        self.resources = resources
        self.kept = Kept()
        self.refused: list[RefusedMessage] = []

    async def run(
        self,
        document: Mapping[Any, Any],
        *steps: Step,
        journal: Journal | None = None,
        state: RunState | None = None,
    ) -> Mapping[int, NodeProgress]:
        """Run a recipe of the given steps and the usual ones to its end; the start sends 5 to node 1 if not said."""
        known = {step.queue: step for step in (count, gather, pass_on, keeper(self.kept), *steps)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry, "STEPS", dict.fromkeys(known, ""))
            patch.setattr("flows.recipe.engine.run.load_step", known.__getitem__)
            recipe = recipe_from_document({"start": [[1, 5]], **document})
            run = RecipeRun(
                recipe,
                "run-1",
                self.resources or FakeResources(),
                journal=journal,
                keep_dead_letter=self.refused.append,
            )
        return await asyncio.wait_for(run.run(state), TIMEOUT_S)
