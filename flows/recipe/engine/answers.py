"""What steps have sent in answer to messages that they aren't done with: sent anew, it's dropped."""

from __future__ import annotations

from collections import Counter, defaultdict


class Answers(defaultdict[int, Counter[str | None]]):
    """How many answers were sent on each output, by the number of the message that they answer.

    A dictionary, as each message is asked for in it, and that a message has none costs nothing to find out.
    """

    def __init__(self) -> None:
        super().__init__(Counter)
        self._to_drop: dict[int, Counter[str | None]] = {}

    def is_new(self, number: int, output: str | None) -> bool:
        """Tell whether a step hasn't sent this before, when it had the message of this number for the last time."""
        if self.was_sent(number, output):
            return False
        self[number][output] += 1
        return True

    def was_sent(self, number: int, output: str | None) -> bool:
        """Tell whether a step had sent this before; so often is it told so."""
        if (to_drop := self._to_drop.get(number)) and to_drop[output]:
            to_drop[output] -= 1
            return True
        return False

    def begin_anew(self, number: int) -> None:
        """Expect a step to send again what it has sent in answer to a message that it wasn't done with."""
        if number in self:
            self._to_drop[number] = Counter(self[number])

    def forget(self, number: int) -> None:
        """Forget what was sent in answer to a message that is done."""
        self.pop(number, None)
        self._to_drop.pop(number, None)
