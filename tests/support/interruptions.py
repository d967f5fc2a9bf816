"""Run a step as the engine does, kill it at any moment, take it up again: for tests of what happens exactly once."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from blocks.errors import NodeRefused
from tasks.step import Message, Send, Step, StepContext
from tasks.step.resources import Resources
from tasks.step.runner import Handled, run_step, sends_of

SENT_AT = 1_700_000_000.0


class Killed(BaseException):
    """The process ended here, and nothing of it was kept."""


@dataclass
class InterruptedRun:
    """A node of a recipe run, with what the engine keeps of it from one process to the next.

    Parameters
    ----------
    recipe_run
        Of the messages' keys.
    messages
        Those of the node's inbox, numbered.
    sent
        What the next nodes were given: (output, payload) each, in order.
    environments
        Those of what was sent.
    refused
        The refused messages' payloads.
    left
        Why messages were left undone by the last process, by number.
    not_spoken_of
        Numbers of the messages of which the step had said nothing when it came to its end.
    """

    step: Step
    node: Mapping[str, Any]
    payloads: Iterable[Any]
    resources: Resources
    recipe_run: str = "run-1"
    messages: list[Message] = field(init=False)
    sent: list[tuple[str | None, Any]] = field(default_factory=list)
    environments: list[Mapping[str, Any]] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
    progress: list[tuple[int, int | None]] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    not_spoken_of: list[int] = field(default_factory=list)
    _done: set[int] = field(default_factory=set)
    _sent_for: Counter[tuple[int, str | None]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.messages = [
            Message(payload, {"ID": self.recipe_run, "message": number}, number, SENT_AT + number)
            for number, payload in enumerate(self.payloads, 1)
        ]

    @property
    def is_done(self) -> bool:
        """No message is left."""
        return len(self._done) == len(self.messages)

    @property
    def is_over(self) -> bool:
        """Every message is done, or was left undone by the last process."""
        return len(self._done) + len(self.left) == len(self.messages)

    async def process(self, kill_at: int | None = None, look_on: Callable[[], object] = lambda: None) -> None:
        """Let a process work on what is left: to its end, or until it's killed.

        Parameters
        ----------
        kill_at
            It dies at so many of the moments at which the engine would write its journal, before that is written.
        look_on
            Called at each of these moments.
        """
        heard, moments_left = self._sent_for.copy(), kill_at
        stands_for_all: Message | None = None
        self.left.clear()

        def write_journal() -> None:
            nonlocal moments_left
            look_on()
            if moments_left is not None:
                moments_left -= 1
                if moments_left < 0:
                    raise Killed

        def refuse(message: Message, error: Exception) -> None:
            nonlocal stands_for_all
            if isinstance(error, NodeRefused):
                if stands_for_all:
                    leave_undone([message], str(error))
                    return
                stands_for_all = message
            if self._is_held(message):
                write_journal()
                self.refused.append(message.payload)
                self._done.add(message.number)

        def finish(message: Message) -> None:
            if self._is_held(message):
                write_journal()
                self._done.add(message.number)

        def leave_undone(messages: Iterable[Message], reason: str, told_on: str | None = None) -> None:
            write_journal()
            self.left |= {message.number: reason for message in messages if self._is_held(message)}

        async def inbox() -> AsyncIterator[Message]:
            for message in self.messages:
                if self._is_held(message):
                    yield Message(message.payload, message.environment, message.number, message.sent_at)

        context = StepContext(
            self.node,
            self.recipe_run,
            self.resources,
            refuse,
            lambda *progress: self.progress.append(progress),
            finish,
            Counter(output for output, _ in self.sent),
            leave_undone=leave_undone,
        )
        try:
            async with aclosing(run_step(self.step, inbox(), context)) as results:
                async for result in results:
                    sends = sends_of(result)
                    done = (result.message,) if isinstance(result, Handled) else result.completes
                    if not done and self._was_heard(sends[0], heard):
                        continue
                    write_journal()
                    self._keep(sends, done)
        except Killed:
            return
        self.not_spoken_of = [message.number for message in self.messages if self._is_held(message)]
        self.left |= dict.fromkeys(self.not_spoken_of, "the step said nothing of it")

    def _is_held(self, message: Message) -> bool:
        return message.number not in self._done and message.number not in self.left

    def _was_heard(self, send: Send, heard: Counter[tuple[int, str | None]]) -> bool:
        if send.follows is None or not heard[send.follows.number, send.output]:
            return False
        heard[send.follows.number, send.output] -= 1
        return True

    def _keep(self, sends: Iterable[Send], done: Iterable[Message]) -> None:
        for send in sends:
            self.sent.append((send.output, send.payload))
            self.environments.append(send.environment or {})
            if send.follows and not done:
                self._sent_for[send.follows.number, send.output] += 1
        self._done.update(message.number for message in done)
