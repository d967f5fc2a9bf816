"""What a node leaves undone: messages that wait until the run is taken up again, since its step has given up."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from flows.recipe.engine.channel import Channel
from flows.recipe.engine.exchange import Exchange
from flows.recipe.engine.outputs import Outputs
from flows.recipe.run_record.progress import NodeProgress
from tasks.step import ABORT, Message, Send, Step
from tasks.step.runner import Handled

logger = logging.getLogger(__name__)


class Undone:
    """What one node leaves undone, and why.

    Parameters
    ----------
    held
        The messages that the node has taken and isn't done with, by number; what is left undone is taken out.

    Attributes
    ----------
    given_up
        Why the step has given up messages that the node holds, by their numbers.
    """

    def __init__(
        self,
        number: int,
        step: Step,
        progress: NodeProgress,
        exchange: Exchange,
        outputs: Outputs,
        held: dict[int, Message],
    ) -> None:
        self._number, self._step, self._progress = number, step, progress
        self._exchange, self._outputs, self._held = exchange, outputs, held
        self.given_up: dict[int, str] = {}
        self._is_in_vain = False
        self._told_of: list[tuple[list[int], str, str]] = []

    def gives_up_in_vain(self, sends: Iterable[Send]) -> bool:
        """Tell whether one of a message's sends says that its step gives it up, and leads nowhere."""
        is_in_vain = False
        for send in sends:  # each, as undeclared outputs are told of
            is_in_vain |= self._outputs.gives_up(send.output) and not self._outputs.leads(send.output)
        return is_in_vain

    def give_up_message(self, result: Handled) -> Channel | None:
        """Pass on what a message step sends that gives its message up, which nobody hears, and leave that undone."""
        full = self._exchange.send(self._number, result.sends, result.message, (), self._progress.sent)
        said = (_said(send) for send in result.sends if self._outputs.gives_up(send.output))
        why = next(filter(None, said), None)
        reason = self._reason(is_heard=False) if why is None else f"the step {self._step.name} has given up: {why}"
        self.leave([result.message], reason)
        return full

    def give_up(self, abort: Send) -> Channel | None:
        """Pass on that a stream step gives up, and hold on to what it has gathered, whatever it says of that.

        What it was done with a moment ago, without an answer, belongs to that, unless it says itself what is left. A
        later answer may complete it.
        """
        if not self._has_left:
            self._held |= {message.number: message for message in self._exchange.take_back(self._number)}
        is_heard = self._outputs.leads(abort.output)
        self._is_in_vain |= not is_heard
        self.given_up |= dict.fromkeys(self._held, self._reason(is_heard=is_heard))
        # The answer to the first that was gathered, which is the same when all come again: it's told once
        is_left = abort.follows is not None and abort.follows.number not in self._held
        gathered = abort.completes or (() if is_left else tuple(self._held.values()))
        first = min(gathered, key=lambda message: message.number, default=abort.follows)
        environment = abort.follows.environment if abort.follows and abort.environment is None else abort.environment
        told = structs.replace(abort, output=ABORT if not is_heard else abort.output, environment=environment)
        full = self._exchange.send(self._number, [told], first, (), self._progress.sent)
        if not self._held:
            self.miss_answer()
        return full

    def break_down(self) -> None:
        """Forget that the step has given up in vain: it broke, and what it held is tried again or refused."""
        self._is_in_vain = False

    @property
    def _has_left(self) -> bool:
        """Some of the node's messages are left undone, by the step's own word or for its silence."""
        return bool(self._progress.left or self._told_of)

    def miss_answer(self) -> None:
        """Say that a step has given up in vain where nothing that it leaves would bring its answer."""
        if self._is_in_vain and not self._has_left and not self._progress.without_answer:
            done = f"it was done with {self._progress.messages_done} messages before, which don't come by themselves"
            self.note_without_answer(f"{self._reason(is_heard=False)}; {done}")

    def _reason(self, *, is_heard: bool) -> str:
        reason = f"the step {self._step.name} has given up"
        return reason if is_heard else f"{reason}, and its output {ABORT} leads nowhere"

    def leave(self, messages: Iterable[Message], reason: str, told_on: str | None = None) -> None:
        """Have messages wait until the run is taken up again."""
        left = [message.number for message in messages if self._held.pop(message.number, None) is not None]
        if left and told_on is not None and self._outputs.leads(told_on):
            self._told_of.append((left, reason, told_on))  # it may say so yet
        elif left:
            self.note_left(left, reason)

    def leave_told_of(self) -> None:
        """Leave undone what the step says that it has told of, now that it's known whether it has."""
        sent = self._progress.sent
        for left, reason, told_on in self._told_of:
            is_heard = sent[told_on] > 0 or (told_on == self._step.default_output and sent[""] > 0)
            self.note_left(left, reason, is_heard=is_heard)
        self._told_of.clear()

    def leave_held(self) -> None:
        """Leave undone what a step still holds when it has ended."""
        silent = f"the step {self._step.name} has ended without saying what became of them"
        reasons: defaultdict[str, list[int]] = defaultdict(list)
        for number in self._held:
            reasons[self.given_up.get(number, silent)].append(number)
        self._held.clear()
        in_vain = self._reason(is_heard=False)
        for reason, left in reasons.items():
            is_heard = reason not in {silent, in_vain}
            self._progress.gave_up |= reason == in_vain
            self.note_left(left, reason, is_heard=is_heard)

    def note_without_answer(self, reason: str) -> None:
        """Note that the node's answer is missing, which makes the run fail."""
        logger.error("%s", reason)
        self._progress.without_answer = reason
        self._exchange.leave_undone(self._number, (), reason, is_heard=False)

    def note_left(self, numbers: Sequence[int], reason: str, *, is_heard: bool = False) -> None:
        """Note messages that wait, and whether another node has heard of it: then it's no fault."""
        level = logging.INFO if is_heard else logging.ERROR
        logger.log(level, "%d messages are left undone: %s", len(numbers), reason)
        self._progress.leave_undone(len(numbers), reason, is_heard=is_heard)
        self._exchange.leave_undone(self._number, numbers, reason, is_heard=is_heard)


def _said(abort: Send) -> str | None:
    """Return why a step gives up, if it says so."""
    reason = abort.payload.get("reason") if isinstance(abort.payload, Mapping) else None
    return reason if isinstance(reason, str) and reason else None
