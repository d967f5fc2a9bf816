"""What a step is: a function of (parameters, message) whose results go out on named outputs.

A *message step* takes one message at a time. A *stream step* takes the whole inbox, an async iterator,
and may send at any time: a watcher, a buffer, a fan-in. Steps know nothing of Prefect or of recipes;
the engine (`flows.recipe.engine`) and `plaza step run` call them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from tasks.resources import Resources


class StepParameters(BaseModel):
    """Base of a step's parameter model.

    Numbers that arrive as strings after substitution are coerced; keys that the step doesn't know are ignored,
    since recipes share parameter blocks between steps. Hyphenated keys are declared by alias.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


@dataclass(frozen=True, slots=True)
class Message:
    """What a step receives: a JSON value, and the environment that travels along the recipe with it."""

    payload: Any
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Send:
    """What a step sends.

    Parameters
    ----------
    payload
        A JSON value.
    output
        Name of the output; None for the unnamed one (a step's default output, where it has one, receives it).
    environment
        The environment of the message that this one follows from, with what the step adds to it.
        None where the step doesn't say: a message step's own input is taken.
    delay
        Seconds before it's delivered; None: the target node's `transport-delay`.
    """

    payload: Any
    output: str | None = None
    environment: Mapping[str, Any] | None = None
    delay: float | None = None


def _no_progress(done: int, expected: int | None) -> None:
    """Ignore progress: nobody watches a step that is run by hand."""


@dataclass(frozen=True)
class StepContext:
    """The surroundings of a running step.

    Parameters
    ----------
    node
        The recipe node as it stands in the filled-in recipe (parameters, gridinfo, output, comment …).
    recipe_run
        Zocalo's recipe ID (guid).
    resources
        Connections: ISPyB, the analysis cluster, mail.
    refuse
        Called as `refuse(message, error)` by stream steps for a message that they can't use; a message step raises.
    progress
        Called as `progress(done, expected)` by stream steps; cheap, call it as often as you like.
    """

    node: Mapping[str, Any]
    recipe_run: str
    resources: Resources
    refuse: Callable[[Message, Exception], None]
    progress: Callable[[int, int | None], None] = _no_progress
    logger: logging.Logger | logging.LoggerAdapter[Any] = field(default_factory=lambda: logging.getLogger("tasks"))


class MessageFunction(Protocol):
    """A message step's function; a plain one runs in a thread. Raises MessageRefused to refuse the message."""

    def __call__(self, parameters: Any, message: Message, context: StepContext, /) -> Iterable[Send]:
        """Handle a message."""
        ...


class StreamFunction(Protocol):
    """A stream step's function: an async generator."""

    def __call__(self, parameters: Any, inbox: AsyncIterator[Message], context: StepContext, /) -> AsyncIterator[Send]:
        """Handle all messages of the inbox."""
        ...


@dataclass(frozen=True)
class Step:
    """A service's work, as the engine calls it.

    Parameters
    ----------
    queue
        Zocalo's queue name, by which recipe nodes pick the step.
    parameters
        Model of the node's `parameters`.
    outputs
        Names it may send on; `*` stands for digits (`select-*`, `*`).
    default_output
        The output that also feeds unnamed links (Zocalo's default channel); None: the step always names its output.
    """

    queue: str
    parameters: type[StepParameters]
    outputs: tuple[str, ...]
    default_output: str | None
    message_function: MessageFunction | None = None
    stream_function: StreamFunction | None = None

    @property
    def name(self) -> str:
        """The function's name: what the step does, as a verb."""
        function = self.message_function or self.stream_function
        return getattr(function, "__name__", self.queue)


def message_step(
    *, queue: str, parameters: type[StepParameters], outputs: tuple[str, ...] = (), default_output: str | None = None
) -> Callable[[MessageFunction], Step]:
    """Make a step of a function `(parameters, message, context) -> Iterable[Send]`."""
    return lambda function: Step(queue, parameters, outputs, default_output, message_function=function)


def stream_step(
    *, queue: str, parameters: type[StepParameters], outputs: tuple[str, ...] = (), default_output: str | None = None
) -> Callable[[StreamFunction], Step]:
    """Make a step of an async generator `(parameters, inbox, context) -> AsyncIterator[Send]`."""
    return lambda function: Step(queue, parameters, outputs, default_output, stream_function=function)
