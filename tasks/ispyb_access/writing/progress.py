"""How far one piece of work has come: its answers, and which of them are committed."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from sqlalchemy import Connection

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.answers import Answer
from tasks.ispyb_access.writing.ledger import find_entry, make_entry


class Progress:
    """The answers of one piece of work, from earlier tries and from this one, and its entries in the ledger.

    There is one entry for all of the work if it's one transaction, else one for each command.

    Parameters
    ----------
    entry
        What names the work in the ledger; None: nothing does.
    has_ledger
        ISPyB has one.
    unfinished
        The answers of work that was committed in part, by their entries: kept between tries.
    """

    def __init__(self, entry: str | None, has_ledger: bool, unfinished: MutableMapping[str, list[Answer]]) -> None:
        self._entry, self._has_ledger, self._unfinished = entry, has_ledger, unfinished
        self._given: list[Answer] = []
        self._earlier: list[Answer] = []
        self._committed = 0
        self._was_done = False

    @property
    def is_entered(self) -> bool:
        """The work has a name, and there is a ledger for it."""
        return self._entry is not None and self._has_ledger

    @property
    def left(self) -> str:
        """What of a list stays written if a command fails now, in words."""
        if not self._committed:
            return "nothing of the list is written"
        some = "some of " if self._committed < len(self._given) else ""
        return f"{some}the steps before it stay written"

    def recall(self, connect: Callable[[], Connection]) -> None:
        """Find the answers of what was carried out before."""
        if self._entry is None:
            return
        if self._entry in self._unfinished:
            self._earlier = list(self._unfinished[self._entry])
        elif self._has_ledger:
            self._look_into_ledger(connect(), self._entry)
        self._committed = len(self._earlier)

    def find(self, command: str) -> Answer | None:
        """Return the answer of the next command if it was carried out before.

        Raises
        ------
        MessageRefused
            Another one was.
        """
        position = len(self._given)
        if position < len(self._earlier):
            answer = self._earlier[position]
            answer.of(command)
            return answer
        if self._was_done:
            raise MessageRefused(f"{command}: the message was written before, but with other commands")
        return None

    def add(self, answer: Answer) -> None:
        """Note what the next command has answered."""
        self._given.append(answer)

    def enter_next(self, connection: Connection, command: str, value: Any) -> None:
        """Enter in the ledger what the next command has answered."""
        if self.is_entered:
            make_entry(connection, self._entry_of(len(self._given)), Answer(command, value).as_json())

    def enter(self, connection: Connection, *, is_all: bool) -> None:
        """Enter in the ledger what the transaction that is about to be committed holds.

        Parameters
        ----------
        is_all
            The work is done with it.
        """
        if self._entry is None or not self._has_ledger or self._was_done:
            return
        if is_all and not self._committed:
            make_entry(connection, self._entry, [answer.as_json() for answer in self._given])
            return
        for number in range(self._committed, len(self._given)):
            make_entry(connection, self._entry_of(number), self._given[number].as_json())

    def note_committed(self) -> None:
        """Note that whatever was answered is committed."""
        answers = [*self._given, *self._earlier[len(self._given) :]]
        self._committed = len(answers)
        if self._entry is not None and not self._was_done:
            self._unfinished[self._entry] = answers

    def forget(self) -> None:
        """Keep nothing for another try: there won't be one."""
        if self._entry is not None:
            self._unfinished.pop(self._entry, None)

    def _look_into_ledger(self, connection: Connection, entry: str) -> None:
        if whole := find_entry(connection, entry):
            self._earlier, self._was_done = [Answer.from_json(one) for one in whole.answer], True
            return
        while part := find_entry(connection, self._entry_of(len(self._earlier))):
            self._earlier.append(Answer.from_json(part.answer))

    def _entry_of(self, number: int) -> str:
        """Return what names a command's own entry, as it's counted from 0."""
        return f"{self._entry}/{number + 1}"
