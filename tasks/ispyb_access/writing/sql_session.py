"""One piece of work that is written by SQL: a transaction, or several where procedures come in between."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from sqlalchemy import Connection

from blocks.errors import MessageRefused
from blocks.ispyb_connection import safe_url, transaction
from tasks.ispyb_access.writing.access import Access
from tasks.ispyb_access.writing.commands import CommandCall
from tasks.ispyb_access.writing.ledger import find_entry, make_entry, write_once
from tasks.ispyb_access.writing.refusals import named
from tasks.ispyb_access.writing.ways import Way

if TYPE_CHECKING:
    from tasks.ispyb_access.writing.commands.image_quality import PerImageResult


class SqlSession:
    """Carries out the commands of one piece of work, and answers for those that were carried out before.

    Use as a context manager: what is written by SQL is committed when it ends. A procedure commits by itself, on a
    connection of its own. It would wait in vain for rows that aren't committed, and neither would it see them nor the
    transaction the procedure's: so the transaction ends before a procedure, and likewise before something is looked up
    as another user. Then the ledger has an entry for each command, else one for all.

    Parameters
    ----------
    access
        ISPyB.
    entry
        What names the work in the ledger; None: nothing does.
    has_ledger
        ISPyB has one.
    unfinished
        The answers of work that was committed in part, by their entries: kept between sessions.
    """

    def __init__(
        self, access: Access, entry: str | None, has_ledger: bool, unfinished: MutableMapping[str, list[Any]]
    ) -> None:
        self._access, self._entry, self._has_ledger, self._unfinished = access, entry, has_ledger, unfinished
        self._pieces = ExitStack()
        self._connection: Connection | None = None
        self._answers: list[Any] = []
        self._known: list[Any] = []
        self._committed = 0  # of the answers
        self._is_done = False

    @property
    def left(self) -> str:
        """What of a list stays written if a command fails now, in words."""
        if not self._committed:
            return "nothing of the list is written"
        some = "some of " if self._committed < len(self._answers) else ""
        return f"{some}the steps before it stay written"

    def __enter__(self) -> Self:
        with ExitStack() as on_fault:
            on_fault.push(self._pieces)
            self._recall()
            on_fault.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            if isinstance(error, MessageRefused):  # it won't come again under this name
                self._forget()
            self._pieces.__exit__(kind, error, traceback)
            return
        with self._pieces:
            self._enter_all()
        self._forget()

    def __call__(self, call: CommandCall) -> Any:
        """Carry out a command, unless its answer is known."""
        position = len(self._answers)
        if position < len(self._known):
            answer = self._known[position]
        elif self._is_done:
            raise MessageRefused(f"{call.name}: the message was written before, but with other commands")
        else:
            answer = self._carry_out(call)
        self._answers.append(answer)
        if self._connection is None:  # whatever wrote it has committed
            self._note_committed()
        return answer

    def _recall(self) -> None:
        """Find the answers of what was carried out before."""
        if self._entry is None:
            return
        if self._entry in self._unfinished:
            self._known = list(self._unfinished[self._entry])
        elif self._has_ledger:
            connection = self._open()
            if whole := find_entry(connection, self._entry):
                self._known, self._is_done = whole.answer, True
            else:
                while part := find_entry(connection, self._entry_of(len(self._known))):
                    self._known.append(part.answer)
        self._committed = len(self._known)

    def _carry_out(self, call: CommandCall) -> Any:
        name, needs = call.name, call.command.needs_for(call.parameters)
        ways = self._access.ways
        way = ways.find(name, needs)
        if way not in {Way.SQL, Way.NONE}:
            self._commit()
        if way is Way.NEW_BY_SQL:
            self._access.write_images([cast("PerImageResult", call.parameters)])
            return 1
        if way is Way.PROCEDURES:
            return self._by_procedures(call)
        if way is Way.SQL_AND_PROCEDURES:
            call = call._replace(parameters=self._access.procedures.look_up(name, call.parameters))
        with ways.explaining(name, needs):
            return self._by_sql(call)

    def _by_sql(self, call: CommandCall) -> Any:
        """Carry out a command in the transaction; one that names its own entry isn't, if another message has had it."""
        connection, command, parameters = self._open(), call.command, call.parameters
        own = command.entry(parameters) if command.entry and self._has_ledger else None
        with named(call.name, parameters, safe_url(self._access.engine)):
            if own is not None:
                return write_once(connection, own, lambda: command.write(connection, parameters))
            return command.write(connection, parameters)

    def _by_procedures(self, call: CommandCall) -> Any:
        """Have a command carried out by procedures, unless it's known to have been."""
        command, parameters, procedures = call.command, call.parameters, self._access.procedures
        own = command.entry(parameters) if command.entry and self._has_ledger else None
        if own is not None:
            answer = procedures.call_once(own, call.name, parameters)
        elif (answer := self._find_earlier(call)) is None:
            answer = procedures.call(call.name, parameters)
        if self._entry is not None and self._has_ledger:
            with transaction(self._access.engine) as connection:
                make_entry(connection, self._entry_of(len(self._answers)), answer)
        return answer

    def _find_earlier(self, call: CommandCall) -> Any:
        """Look for what the command would write, where that can be told and somebody may look."""
        earlier = call.command.earlier
        reader = self._access.ways.who_reads(earlier.tables) if earlier is not None else None
        if earlier is None or reader is None:
            return None
        with (
            transaction(reader, read_only=True) as connection,
            named(call.name, call.parameters, safe_url(reader)),
        ):
            return earlier.find(connection, call.parameters)

    def _open(self) -> Connection:
        if self._connection is None:
            connection = self._pieces.enter_context(transaction(self._access.engine))
            self._connection = self._access.prepare(connection)
        return self._connection

    def _commit(self) -> None:
        """Commit what was written, with entries in the ledger: the work isn't one transaction any more."""
        if self._connection is None:
            return
        with self._pieces.pop_all():
            self._enter_each()
        self._connection = None
        self._note_committed()

    def _note_committed(self) -> None:
        answers = [*self._answers, *self._known[len(self._answers) :]]
        self._committed = len(answers)
        if self._entry is not None and not self._is_done:
            self._unfinished[self._entry] = answers

    def _forget(self) -> None:
        if self._entry is not None:
            self._unfinished.pop(self._entry, None)

    def _enter_all(self) -> None:
        """Enter in the ledger what the transaction that is about to be committed holds."""
        if self._entry is None or not self._has_ledger or self._is_done or self._connection is None:
            return
        if self._committed:
            self._enter_each()
        else:
            make_entry(self._connection, self._entry, self._answers)

    def _enter_each(self) -> None:
        if self._entry is None or not self._has_ledger or self._connection is None:
            return
        for number in range(self._committed, len(self._answers)):
            make_entry(self._connection, self._entry_of(number), self._answers[number])

    def _entry_of(self, number: int) -> str:
        """Return what names a command's own entry, as it's counted from 0."""
        return f"{self._entry}/{number + 1}"
