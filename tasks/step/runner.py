"""Run a step on an inbox, whichever kind of step it is. The engine and `plaza step run` share this."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, cast

import msgspec
from pydantic import ValidationError

from blocks.errors import NodeRefused
from blocks.validation_faults import describe
from tasks.step.contract import BY_HAND, Message, MessageFunction, Send, Step, StepContext, StepParameters
from tasks.step.notes import Notes
from tasks.step.resources import Resources


def read_parameters(step: Step, node: Mapping[str, Any]) -> StepParameters:
    """Validate a node's `parameters` for its step.

    Raises
    ------
    NodeRefused
        One is missing or has the wrong type; the message names each.
    """
    try:
        return step.parameters.model_validate(node.get("parameters") or {})
    except ValidationError as error:
        raise NodeRefused(f"the parameters of {step.queue} are wrong: {describe(error)}") from error


class Handled(msgspec.Struct, frozen=True):
    """A message that a message step is done with, and all that it sends for it."""

    message: Message
    sends: Sequence[Send]


def run_step(step: Step, inbox: AsyncIterator[Message], context: StepContext) -> AsyncGenerator[Send | Handled, None]:
    """Feed an inbox to a step and return what comes of it: the sends of a stream step, or messages handled.

    A message that a message step refuses goes to `context.refuse`, and the next one is taken.
    Wrong parameters refuse every message, as one: none is lost and none is half done.
    """
    try:
        parameters = read_parameters(step, context.node)
    except NodeRefused as error:
        return _refuse_all(inbox, context, error)
    if step.stream_function is not None:
        return cast("AsyncGenerator[Send | Handled, None]", step.stream_function(parameters, inbox, context))
    return _handle_each(step, parameters, inbox, context)


def sends_of(result: Send | Handled) -> list[Send]:
    """Return what a step sends, with the environments that it goes with."""
    sends, message = (result.sends, result.message) if isinstance(result, Handled) else ((result,), result.follows)
    environment = message.environment if message else {}
    complete = msgspec.structs.replace
    return [complete(send, environment=environment) if send.environment is None else send for send in sends]


async def _refuse_all(
    inbox: AsyncIterator[Message], context: StepContext, error: NodeRefused
) -> AsyncGenerator[Handled, None]:
    async for message in inbox:
        context.refuse(message, error)
    # The `yield` makes it a generator, as its caller expects; there is nothing to send.
    return
    yield


async def _handle_each(
    step: Step, parameters: StepParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncGenerator[Handled, None]:
    function: Any = step.message_function
    assert function is not None, f"{step.queue} has neither a message nor a stream function"
    is_quick = iscoroutinefunction(function)
    with _thread_of_its_own(step) as thread:
        async for message in inbox:
            try:
                if is_quick:
                    sends = list(await function(parameters, message, context) or ())
                else:
                    # A thread begins with an empty context: the copy has on whose behalf lines are logged.
                    call = partial(copy_context().run, _call, function, parameters, message, context)
                    sends = await asyncio.get_running_loop().run_in_executor(thread, call)
            except Exception as error:  # costs this message only; Zocalo's service would end and meet it again
                context.refuse(message, error)
            else:
                yield Handled(message, sends)


@contextmanager
def _thread_of_its_own(step: Step) -> Iterator[ThreadPoolExecutor]:
    """Have a thread for a step, so that none waits for another that is stuck; it's started when first used."""
    thread = ThreadPoolExecutor(1, thread_name_prefix=step.name)
    try:
        yield thread
    finally:
        thread.shutdown(wait=False)  # a step that was cancelled may not come back for long


def _call(function: MessageFunction, parameters: StepParameters, message: Message, context: StepContext) -> list[Send]:
    # A list, so that generators run to their end in the thread: all that a message causes is sent, or nothing.
    try:
        return list(cast("Iterable[Send]", function(parameters, message, context)) or ())
    except (StopIteration, SystemExit) as error:  # a future can't carry the one; the other would end the process
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


@dataclass
class StepOutcome:
    """What a step did with some messages.

    Parameters
    ----------
    sent
        What it sent, in order.
    refused, undone
        What it refused, and what it left undone, each with the reason.
    notes
        What it said of it in numbers.
    """

    sent: list[Send] = field(default_factory=list)
    refused: list[tuple[Message, Exception]] = field(default_factory=list)
    undone: list[tuple[Message, str]] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    def refuse(self, message: Message, error: Exception) -> None:
        """Note a message that is refused, or that waits with the first one where all of the node are."""
        if isinstance(error, NodeRefused) and any(isinstance(other, NodeRefused) for _, other in self.refused):
            self.undone.append((message, str(error)))
        else:
            self.refused.append((message, error))

    def leave_undone(self, messages: Iterable[Message], reason: str, told_on: str | None = None) -> None:
        """Note messages that the step isn't done with."""
        self.undone += [(message, reason) for message in messages]


async def try_step(
    step: Step, node: Mapping[str, Any], payloads: Iterable[Any], resources: Resources, recipe_run: str = BY_HAND
) -> StepOutcome:
    """Run a step by itself on some payloads, to its end."""
    outcome = StepOutcome()
    context = StepContext(
        node, recipe_run, resources, outcome.refuse, leave_undone=outcome.leave_undone, note=outcome.notes.add
    )

    async def inbox() -> AsyncIterator[Message]:
        for number, payload in enumerate(payloads, 1):
            yield Message(payload, {"ID": recipe_run}, number, time.time())

    async for result in run_step(step, inbox(), context):
        outcome.sent += sends_of(result)
    return outcome
