"""What a step is: a function of (parameters, message) whose results go out on named outputs.

A *message step* takes one message at a time. A *stream step* takes the whole inbox, an async iterator,
and may send at any time: a watcher, a buffer, a fan-in. Steps know nothing of Prefect or of recipes;
the engine (`flows.recipe.engine.run`) and `plaza step run` call them.

A recipe run that was killed goes on with the messages that were not done. A message step's message is done when the
function returns. A stream step says when: by a send that `completes` messages, or by `context.done(message)`.
What it never speaks of stays undone, and its node has failed. A message that comes again has the same number as before,
by which a step can tell what it has done for it already (`context.key(message)`).

A *fan-in* gathers messages for one answer. Where its inbox ends before it can give that, the messages aren't done: it
says why by `context.leave_undone(messages, reason, ABORT)`. They come again, with what was missing, when the run is
taken up again. Who is to know of it in the recipe hears it on an output named `abort`; where that leads nowhere the
node has failed, so that no run is called completed whose answer is missing. What a stream step holds when it sends
`abort` stays undone, though it call it done then; what it had called done long before can't be taken back. One that has
to give an answer even if no message comes says so by `without_messages`. `tasks.xray_centring` is an example.

A message step that gives up sends `abort`, too, with why as `reason` in the payload: the message is undone if nobody
hears of it.

A step that can't use any message of its node refuses them by `NodeRefused`: one dead letter stands for all.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from tasks.step.notes import Note
from tasks.step.retries import USUAL_RETRIES, Retries
from tasks.whole_number import is_grouped, takes_numbers_only

if TYPE_CHECKING:
    from tasks.step.checking import NodePlan
    from tasks.step.resources import Resources

ABORT: Final = "abort"
"""An output by which a step says that it gives up, declared or not: what it holds isn't done, and if no node hears it,
the step has failed."""

BY_HAND: Final = "by-hand"
"""The recipe run of steps that are run by hand: its messages are numbered anew each time, with nothing kept."""


class StepParameters(BaseModel):
    """Base of a step's parameter model.

    Numbers that arrive as strings after substitution are coerced; keys that the step doesn't know are ignored,
    since recipes share parameter blocks between steps. Hyphenated keys are declared by alias.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_grouped_number(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str) or not is_grouped(value):
            return value
        if takes_numbers_only(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("expected a number without underscores")
        return value


# Messages and sends are msgspec's: a dataclass takes two to three times as long to make, which the engine feels.
class Message(msgspec.Struct, frozen=True):
    """What a step receives: a JSON value, and the environment that travels along the recipe with it.

    Parameters
    ----------
    number
        Which message of its recipe run this is; the same when it comes again after a crash.
    sent_at
        When it was sent, in seconds since the epoch; the same when it comes again.
    """

    payload: Any
    environment: Mapping[str, Any] = msgspec.field(default_factory=dict)
    number: int = 0
    sent_at: float = 0.0


class Send(msgspec.Struct, frozen=True):
    """What a step sends.

    Parameters
    ----------
    payload
        A JSON value.
    output
        Name of the output; None for the unnamed one (a step's default output, where it has one, receives it).
    environment
        The environment of the message that this one follows from, with what the step adds to it.
        None where the step doesn't say: that of `follows`.
    delay
        Seconds before it's delivered; None: the target node's `transport-delay`.
    follows
        The message that it's the answer to; None: a message step's input. A stream step that is taken up again, and
        sends anew what it had sent on an output before it was done with the message, is not heard twice: so many are
        dropped. It has to send in the same order for that.
    completes
        Messages that are done with this send, all at once: after a crash either none of them comes again or all do.
    """

    payload: Any
    output: str | None = None
    environment: Mapping[str, Any] | None = None
    delay: float | None = None
    follows: Message | None = None
    completes: tuple[Message, ...] = ()


def _no_progress(done: int, expected: int | None) -> None:
    """Ignore progress: nobody watches a step that is run by hand."""


def _nothing_to_keep(message: Message) -> None:
    """Ignore that a message is done: a step that is run by hand isn't taken up again."""


class LeaveUndone(Protocol):
    """Has messages wait until the run is taken up again."""

    def __call__(self, messages: Iterable[Message], reason: str, told_on: str | None = None, /) -> None:
        """Say which and why, and the output on which the recipe was told of it."""
        ...


def _nothing_to_leave(messages: Iterable[Message], reason: str, told_on: str | None = None) -> None:
    """Ignore that messages aren't done: nobody takes up what is run by hand."""


class TakeNotes(Protocol):
    """Has notes kept and shown with the run."""

    def __call__(self, *notes: Note) -> None:
        """Add what they count to what was noted in the same words."""
        ...


def _nothing_to_note(*notes: Note) -> None:
    """Ignore notes: nobody watches a step that is run by itself."""


@dataclass(frozen=True)
class StepContext:
    """The surroundings of a running step.

    Parameters
    ----------
    node
        The recipe node as it stands in the filled-in recipe (parameters, gridinfo, output, comment …).
    recipe_run
        Its id, which no other run has. (Zocalo's recipe ID is in the messages' environment, as `ID`.)
    resources
        Ports to the world beyond: ISPyB, the analysis cluster, mail, other recipes' runs, cluster jobs.
    refuse
        Called as `refuse(message, error)` by stream steps for a message that they can't use; a message step raises.
        After a `NodeRefused`, all that are refused so wait with the first one, which is the only dead letter.
    progress
        Called as `progress(done, expected)` by stream steps; cheap, call it as often as you like.
    done
        Called as `done(message)` by stream steps for a message that needs no answer, when its effect is there.
    sent_before
        How many times the step had sent on each output when the run was taken up again: a fan-in that has told its
        result doesn't begin anew with messages that come late.
    leave_undone
        Called as `leave_undone(messages, reason, told_on)` by stream steps for messages that nothing will come of in
        this process: something is missing that only an operator can bring. They wait until the run is taken up again.
        The node has failed, unless it tells of it on an output, before or after, and that leads somewhere.
    note
        Called as `note(Note(…), …)` to say in numbers what the step did, and how (see `tasks.step.notes`). Said before
        the send that completes a message, it's kept with that: after a crash it's neither lost nor counted twice.
    noted_before
        What it had noted when the run was taken up again: how many, by the notes' words.
    warned_before
        Words of notes that warned in earlier processes of the run, of all its nodes; also of those that begin anew.
    """

    node: Mapping[str, Any]
    recipe_run: str
    resources: Resources
    refuse: Callable[[Message, Exception], None]
    progress: Callable[[int, int | None], None] = _no_progress
    done: Callable[[Message], None] = _nothing_to_keep
    sent_before: Mapping[str, int] = field(default_factory=dict)
    logger: logging.Logger | logging.LoggerAdapter[Any] = field(default_factory=lambda: logging.getLogger("tasks"))
    leave_undone: LeaveUndone = _nothing_to_leave
    note: TakeNotes = _nothing_to_note
    noted_before: Mapping[str, int] = field(default_factory=dict)
    warned_before: frozenset[str] = frozenset()

    def key(self, message: Message) -> str:
        """Return what names a message among all of all recipe runs, the same when it comes again after a crash."""
        return f"{self.recipe_run}/{message.number}"


class MessageFunction(Protocol):
    """A message step's function. Raises MessageRefused to refuse the message.

    A plain one runs in a thread. One that only thinks may be `async def`, which saves it the way there and back.
    """

    def __call__(
        self, parameters: Any, message: Message, context: StepContext, /
    ) -> Iterable[Send] | Awaitable[Iterable[Send]]:
        """Handle a message."""
        ...


class StreamFunction(Protocol):
    """A stream step's function: an async generator."""

    def __call__(self, parameters: Any, inbox: AsyncIterator[Message], context: StepContext, /) -> AsyncIterator[Send]:
        """Handle all messages of the inbox."""
        ...


WithoutMessages = Callable[[Any, Mapping[str, Any]], str | None]
"""Says what a run lacks if no message ever came to a step of these parameters and this node."""


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
    retries
        How often a message is tried again, and after which faults.
    check
        Called as `check(parameters, plan)` before a recipe runs; raises MessageRefused if the step couldn't use any
        message there: what its parameter model alone can't say.
    only_sends
        What it does is in vain where none of its outputs leads anywhere.
    without_messages
        Called as `without_messages(parameters, node)` where a run ended and no message ever came to the node: a fan-in
        says what is missing, and its node has failed; None: nothing is. Raises NodeRefused as the step does.
    """

    queue: str
    parameters: type[StepParameters]
    outputs: tuple[str, ...]
    default_output: str | None
    message_function: MessageFunction | None = None
    stream_function: StreamFunction | None = None
    retries: Retries = USUAL_RETRIES
    check: Callable[[Any, NodePlan], None] | None = None
    only_sends: bool = False
    without_messages: WithoutMessages | None = None

    @property
    def name(self) -> str:
        """The function's name: what the step does, as a verb."""
        # A site's step may be any callable, such as a `partial`, which has no name.
        function = self.message_function or self.stream_function
        return getattr(function, "__name__", self.queue)


def message_step(
    *,
    queue: str,
    parameters: type[StepParameters],
    outputs: tuple[str, ...] = (),
    default_output: str | None = None,
    retries: Retries = USUAL_RETRIES,
    check: Callable[[Any, NodePlan], None] | None = None,
    only_sends: bool = False,
) -> Callable[[MessageFunction], Step]:
    """Make a step of a function `(parameters, message, context) -> Iterable[Send]`."""
    return lambda function: Step(
        queue,
        parameters,
        outputs,
        default_output,
        message_function=function,
        retries=retries,
        check=check,
        only_sends=only_sends,
    )


def stream_step(
    *,
    queue: str,
    parameters: type[StepParameters],
    outputs: tuple[str, ...] = (),
    default_output: str | None = None,
    retries: Retries = USUAL_RETRIES,
    check: Callable[[Any, NodePlan], None] | None = None,
    only_sends: bool = False,
    without_messages: WithoutMessages | None = None,
) -> Callable[[StreamFunction], Step]:
    """Make a step of an async generator `(parameters, inbox, context) -> AsyncIterator[Send]`."""
    return lambda function: Step(
        queue,
        parameters,
        outputs,
        default_output,
        stream_function=function,
        retries=retries,
        check=check,
        only_sends=only_sends,
        without_messages=without_messages,
    )
