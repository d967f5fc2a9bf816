"""How far each node of a run has come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from flows.recipe.run_record.run_state import RunState
from tasks.step.notes import Notes


@dataclass
class NodeProgress:
    """What one node did so far, in this process and in those that had the run before.

    `done` and `expected` are what its step says of its progress (images, files …); `sent` counts by output name;
    `started` and `finished` are seconds since the epoch.

    Parameters
    ----------
    left
        Messages that it left undone, in this process; `first_left` says why.
    is_heard
        Another node heard that these are left undone: it's no fault.
    gave_up
        It has given up, which nobody heard, and said nothing else of what it left undone.
    without_answer
        Why it gave no answer, where it has left no message undone that would come again.
    notes
        What it said of its work in numbers, in all processes.
    warned_before
        Words of what any node of the run has warned of in earlier processes.
    done_before
        Messages that earlier processes were done with: they don't come again.
    """

    node: int
    label: str
    received: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    retried: int = 0
    first_refusal: str | None = None
    left: int = 0
    first_left: str | None = None
    is_heard: bool = True
    gave_up: bool = False
    without_answer: str | None = None
    done: int = 0
    done_before: int = 0
    expected: int | None = None
    started: float | None = None
    finished: float | None = None
    notes: Notes = field(default_factory=Notes)
    warned_before: frozenset[str] = frozenset()

    @property
    def state(self) -> str:
        """One word for it: waiting, running, done, failed, or not needed."""
        if self.finished is None:
            return "waiting" if self.started is None else "running"
        if self.fault:
            return "failed"
        return "done" if self.received else "not needed"

    @property
    def fault(self) -> str | None:
        """Why the node has failed, in a line; None if it hasn't."""
        faults = []
        if self.refused:
            faults.append(f"{self.refused} of {self.received} messages refused; the first: {self.first_refusal}")
        if self.left and not self.is_heard:
            faults.append(f"{self.left} of {self.received} messages left undone: {self.first_left}")
        if self.without_answer:
            faults.append(self.without_answer)
        return "; ".join(faults) or None

    @property
    def messages_done(self) -> int:
        """Messages that it's done with, in all processes: they don't come again."""
        return self.received - self.refused - self.left

    def refuse(self, reason: str) -> None:
        """Count a message that is refused."""
        self.refused += 1
        self.first_refusal = self.first_refusal or reason

    def leave_undone(self, count: int, reason: str, *, is_heard: bool) -> None:
        """Count messages that are left undone."""
        self.left += count
        self.is_heard &= is_heard
        self.first_left = self.first_left or reason

    def restore(self, state: RunState) -> None:
        """Count what earlier processes did; what they left undone comes again."""
        self.received, self.done = state.received(self.node), state.done[self.node]
        self.done_before = self.done
        self.without_answer = state.without_answer.get(self.node) if self.done_before else None
        self.retried = state.retried[self.node]
        self.sent.update(state.sent[self.node])
        self.notes = Notes(state.notes[self.node])
        self.warned_before = frozenset(state.warnings.counts())
        for reason in state.refused[self.node].values():
            self.refuse(reason)
