"""What steps have sent in answer to messages that they aren't done with: sent anew, it's dropped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable


class Answers:
    """Counts, by message number and output, the answers to messages that aren't done."""

    def __init__(self) -> None:
        self._sent: defaultdict[int, Counter[str | None]] = defaultdict(Counter)
        self._to_drop: dict[int, Counter[str | None]] = {}

    def is_new(self, number: int, output: str | None) -> bool:
        """Tell whether a step hasn't sent this before, when it had the message of this number for the last time."""
        if (to_drop := self._to_drop.get(number)) and to_drop[output]:
            to_drop[output] -= 1
            return False
        self._sent[number][output] += 1
        return True

    def restore(self, number: int, sent: Counter[str | None]) -> None:
        """Expect a step to send again what it sent in an earlier process."""
        self._sent[number] = sent
        self.begin_anew(number)

    def begin_anew(self, number: int) -> None:
        """Expect a step to send again what it has sent in answer to a message that it wasn't done with."""
        if number in self._sent:
            self._to_drop[number] = Counter(self._sent[number])

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget what was sent in answer to messages that are done."""
        for number in numbers:
            if number in self._sent:
                del self._sent[number]
                self._to_drop.pop(number, None)
