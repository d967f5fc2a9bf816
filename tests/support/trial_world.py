"""Steps whose doings are known beforehand, random recipes of them, and the world in which they have their effects."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import strategies as st

from blocks.errors import MessageRefused, PassingFault
from blocks.settings import Settings, get_settings
from flows.recipe.engine.node import RefusedMessage
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.progress import NodeProgress
from flows.recipe.run_record.run_state import RunState
from tasks.step import Message, Retries, Send, Step, StepContext, StepParameters, message_step, registry, stream_step
from tests.support.recipe_strategies import recipe_documents

RUN = "run-1"
OUTPUTS = ("every", "first")
SOON = Retries(tries=3, first_pause_s=0.001, longest_pause_s=0.002)

Verdict = Literal["fine", "bad", "hopeless", "stumbles"]
Happening = tuple[int, str, str]
"""Something that befell a message: at which node, its payload, its environment (JSON)."""


class Doings(StepParameters):
    """What a trial step does.

    Parameters
    ----------
    sends
        Outputs that it sends on for each message (a fan-in: at its end, on the first of them).
    rounds
        How many times a source does so.
    verdicts
        What becomes of a message, by a digest of its payload.
    tags
        The environment of what is sent has one entry more.
    """

    sends: tuple[str | None, ...] = ()
    rounds: int = 1
    verdicts: tuple[Verdict, ...] = ("fine",)
    tags: bool = False


def digest(value: Any) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def verdict(doings: Doings, payload: Any) -> Verdict:
    return doings.verdicts[digest(payload) % len(doings.verdicts)]


def answers(doings: Doings, payload: Any) -> list[tuple[str | None, int]]:
    """Say what is sent for a message: output and payload each."""
    return [
        (output, digest([payload, count, index]))
        for count in range(doings.rounds)
        for index, output in enumerate(doings.sends)
    ]


def environment_of_answers(doings: Doings, payload: Any, environment: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**environment, "tag": digest(payload)} if doings.tags else environment


def happening(node: int, payload: Any, environment: Mapping[str, Any]) -> Happening:
    return node, json.dumps(payload, sort_keys=True), json.dumps(environment, sort_keys=True)


@dataclass
class World:
    """What outlives the processes of a run: effects by their keys. It stands in for the resources of the steps.

    Parameters
    ----------
    effects, refusals
        What was handled and refused, by the message's key.
    finished
        Numbers of messages that the journal knew to be done when this process began.
    again
        Those of them that came again: there should be none.
    is_alive
        The run's process hasn't been killed yet: what a dead one does has no effect.
    """

    effects: dict[str, Happening] = field(default_factory=dict)
    refusals: dict[int, Happening] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    finished: set[int] = field(default_factory=set)
    again: list[int] = field(default_factory=list)
    is_alive: bool = True
    settings: Settings = field(default_factory=get_settings)

    def judge(self, doings: Doings, message: Message, context: StepContext) -> Exception | None:
        """Say how it ends with a message; if well, it has its effect."""
        judged = verdict(doings, message.payload)
        key = context.key(message)
        if self.is_alive:
            self.tries[key] += 1
            if message.number in self.finished:
                self.again.append(message.number)
        if judged == "bad":
            return MessageRefused("it's bad")
        if judged == "hopeless" or (judged == "stumbles" and self.tries[key] <= 2):
            return PassingFault("not now")
        if self.is_alive:
            effect = happening(context.node["number"], message.payload, message.environment)
            assert self.effects.setdefault(key, effect) == effect, f"{key} names two messages"
        return None

    def forget(self, nodes: Container[int]) -> None:
        """Undo what happened at some nodes."""
        self.effects = {key: effect for key, effect in self.effects.items() if effect[0] not in nodes}
        self.refusals = {number: refusal for number, refusal in self.refusals.items() if refusal[0] not in nodes}

    def keep_dead_letter(self, refused: RefusedMessage) -> None:
        if self.is_alive:
            message = refused.message
            self.refusals[message.number] = happening(refused.node, message.payload, message.environment)


def _sends(doings: Doings, message: Message) -> list[Send]:
    environment = environment_of_answers(doings, message.payload, message.environment)
    explicit = environment if doings.tags else None
    return [Send(payload, output, explicit, follows=message) for output, payload in answers(doings, message.payload)]


def think(doings, message, context):
    if error := context.resources.judge(doings, message, context):
        raise error
    return _sends(doings, message)


async def think_at_once(doings, message, context):
    return think(doings, message, context)


async def forward(doings, inbox, context):
    """Be done with each message by the last of its answers; break down over what can't be used."""
    async for message in inbox:
        if error := context.resources.judge(doings, message, context):
            raise error
        sends = _sends(doings, message)
        if sends:
            sends[-1] = msgspec.structs.replace(sends[-1], completes=(message,))
        else:
            context.done(message)
        for send in sends:
            yield send


async def produce(doings, inbox, context):
    """Answer much to each message; a fault comes in the midst of it."""
    async for message in inbox:
        sends = _sends(doings, message)
        error = context.resources.judge(doings, message, context)
        if isinstance(error, MessageRefused):
            context.refuse(message, error)
            continue
        for send in sends[: len(sends) // 2]:
            yield send
        if error and verdict(doings, message.payload) == "stumbles":
            raise error
        if error:
            context.refuse(message, error)
            continue
        for send in sends[len(sends) // 2 :]:
            yield send
        context.done(message)


async def gather(doings, inbox, context):
    """Send one message that sums all up, and be done with them by that."""
    gathered = []
    async for message in inbox:
        if error := context.resources.judge(doings, message, context):
            context.refuse(message, error)
        else:
            gathered.append(message)
    if gathered and doings.sends:
        payload = summary([message.payload for message in gathered])
        yield Send(payload, doings.sends[0], completes=tuple(gathered))


def summary(payloads: list[Any]) -> int:
    """Return what a fan-in sends of what it got."""
    return digest(sorted(map(digest, payloads)))


VERDICTS: list[Verdict] = ["fine", "fine", "fine", "fine", "bad", "hopeless", "stumbles"]
PAYLOADS = st.integers() | st.text(max_size=3) | st.dictionaries(st.text(max_size=2), st.floats(-1, 1), max_size=2)

KINDS = {"think": think, "think_at_once": think_at_once, "forward": forward, "produce": produce, "gather": gather}
DEFAULTS = {"plain": None, "default": "every"}


def trial_steps() -> dict[str, Step]:
    """Return a step of each kind, with and without a default output, by queue."""
    steps = {}
    for kind, function in KINDS.items():
        make: Any = message_step if kind.startswith("think") else stream_step
        for name, default in DEFAULTS.items():
            queue = f"{kind}.{name}"
            steps[queue] = make(queue=queue, parameters=Doings, outputs=OUTPUTS, default_output=default, retries=SOON)(
                function
            )
    return steps


@contextmanager
def quiet_trial_steps() -> Iterator[None]:
    """Have the engine know the trial steps and no other, and say nothing: thousands of messages are refused."""
    steps = trial_steps()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("flows.recipe"), "disabled", True)
        patch.setattr(logging.getLogger("flows.recipe.engine.node"), "disabled", True)
        patch.setattr(registry, "STEPS", dict.fromkeys(steps, ""))
        patch.setattr("flows.recipe.engine.run.load_step", steps.__getitem__)
        yield


@st.composite
def trial_recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a recipe of trial steps, of up to eight nodes and in every form of links."""
    document = draw(recipe_documents(min_nodes=draw(st.integers(1, 8))))
    for key, node in document.items():
        if key in ("start", "error"):
            continue
        kind = draw(st.sampled_from(sorted(KINDS)))
        node["queue"] = f"{kind}.{draw(st.sampled_from(sorted(DEFAULTS)))}"
        node["number"] = int(key)
        node["parameters"] = {
            "sends": draw(st.lists(st.sampled_from(["every", None, "first", "lost"]), min_size=1, max_size=4)),
            "rounds": draw(st.integers(0, 5)) if kind == "produce" else 1,
            "verdicts": draw(st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=5)),
            "tags": draw(st.booleans()),
        }
        if draw(st.integers(0, 9)) == 0:
            node["transport-delay"] = "0.002"
    entries = st.sampled_from([entry[0] for entry in document["start"]])
    document["start"] += draw(st.lists(st.tuples(entries, PAYLOADS), max_size=5))
    return document


def run_trial(
    document: Mapping[str, Any], world: World, journal: Journal | None = None, state: RunState | None = None
) -> Mapping[int, NodeProgress] | None:
    """Run a recipe, or go on with it, to its end; None if its process is killed before."""

    async def process() -> Mapping[int, NodeProgress] | None:
        run = RecipeRun(
            recipe_from_document(document),
            RUN,
            world,  # type: ignore[arg-type]
            journal=journal,
            keep_dead_letter=world.keep_dead_letter,
        )
        running = asyncio.create_task(run.run(state))
        if isinstance(journal, MortalJournal):
            journal.kill = lambda: running.cancel()
        try:
            return await asyncio.wait_for(running, 60)
        except asyncio.CancelledError:
            assert not world.is_alive
            return None

    return asyncio.run(process())


class MortalJournal(Journal):
    """A journal whose process is killed when it has written so many bytes, be it within a line.

    From then on nothing that the process does has an effect.
    """

    def __init__(self, path: Any, world: World, bytes_left: int) -> None:
        super().__init__(path)
        self._world, self._bytes_left = world, bytes_left
        self.kill: Any = None

    def _write(self) -> None:
        if len(self._waiting) > self._bytes_left and self._world.is_alive:
            del self._waiting[self._bytes_left :]
            super()._write()
            self._world.is_alive = False
            self.kill()
        if self._world.is_alive:
            self._bytes_left -= len(self._waiting)
            super()._write()
        self._waiting.clear()
