"""Run a step on an inbox, whichever kind of step it is. The engine and `plaza step run` share this."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import ValidationError

from blocks.errors import MessageRefused
from tasks.resources import Resources
from tasks.step import Message, Send, Step, StepContext, StepParameters


def read_parameters(step: Step, node: Mapping[str, Any]) -> StepParameters:
    """Validate a node's `parameters` for its step.

    Raises
    ------
    MessageRefused
        One is missing or has the wrong type; the message names each.
    """
    try:
        return step.parameters.model_validate(node.get("parameters") or {})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'parameters'}: {fault['msg']}, seen {fault['input']!r}"
            for fault in error.errors(include_url=False)
        )
        raise MessageRefused(f"the parameters of {step.queue} are wrong: {faults}") from error


@dataclass(frozen=True, slots=True)
class Handled:
    """What goes together: sends, and the messages that are done with them."""

    sends: Sequence[Send]
    done: Sequence[Message] = ()


async def run_step(step: Step, inbox: AsyncIterator[Message], context: StepContext) -> AsyncGenerator[Handled, None]:
    """Feed an inbox to a step and yield what it sends, each with its environment filled in.

    A message that a message step refuses goes to `context.refuse`, and the next one is taken.
    Wrong parameters refuse every message: none is lost and none is half done.
    """
    try:
        parameters = read_parameters(step, context.node)
    except MessageRefused as error:
        async for message in inbox:
            context.refuse(message, error)
        return
    if step.stream_function is not None:
        sends = cast("AsyncGenerator[Send, None]", step.stream_function(parameters, inbox, context))
        async with aclosing(sends):  # at once, not when it's collected: it may hold files and processes
            async for send in sends:
                yield Handled((_complete(send, send.follows),), send.completes)
        return
    assert step.message_function is not None, f"{step.queue} has neither a message nor a stream function"
    async for message in inbox:
        try:
            results = await asyncio.to_thread(_call, step, parameters, message, context)
        except Exception as error:
            context.refuse(message, error)
        else:
            yield Handled([_complete(send, message) for send in results], (message,))


def _complete(send: Send, follows: Message | None) -> Send:
    if send.environment is not None:
        return send
    return replace(send, environment=follows.environment if follows else {})


def _call(step: Step, parameters: StepParameters, message: Message, context: StepContext) -> list[Send]:
    # A list, so that generators run to their end in the thread: all that a message causes is sent, or nothing.
    assert step.message_function is not None
    try:
        sends: Iterable[Send] = step.message_function(parameters, message, context)
        return list(sends or ())
    except (StopIteration, SystemExit) as error:  # a future can't carry the one; the other would end the process
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


@dataclass
class StepOutcome:
    """What a step did with some messages: what it sent, in order, and what it refused."""

    sent: list[Send] = field(default_factory=list)
    refused: list[tuple[Message, Exception]] = field(default_factory=list)


async def try_step(
    step: Step, node: Mapping[str, Any], payloads: Iterable[Any], resources: Resources, recipe_run: str = "by-hand"
) -> StepOutcome:
    """Run a step by itself on some payloads, to its end."""
    outcome = StepOutcome()
    context = StepContext(
        node, recipe_run, resources, refuse=lambda message, error: outcome.refused.append((message, error))
    )

    async def inbox() -> AsyncIterator[Message]:
        for number, payload in enumerate(payloads, 1):
            yield Message(payload, {"ID": recipe_run}, number, time.time())

    async for handled in run_step(step, inbox(), context):
        outcome.sent += handled.sends
    return outcome
