"""One piece of work that is written by SQL: a transaction, or several where procedures come in between."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from sqlalchemy import Connection

from blocks.errors import PassingFault
from blocks.ispyb_connection import safe_url, transaction
from tasks.ispyb_access.writing.access import Access
from tasks.ispyb_access.writing.answers import Answer
from tasks.ispyb_access.writing.commands import CommandCall
from tasks.ispyb_access.writing.ledger import write_once
from tasks.ispyb_access.writing.progress import Progress
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
        self, access: Access, entry: str | None, has_ledger: bool, unfinished: MutableMapping[str, list[Answer]]
    ) -> None:
        self._access, self._has_ledger = access, has_ledger
        self._progress = Progress(entry, has_ledger, unfinished)
        self._pieces = ExitStack()
        self._connection: Connection | None = None

    @property
    def left(self) -> str:
        """What of a list stays written if a command fails now, in words."""
        return self._progress.left

    def __enter__(self) -> Self:
        with ExitStack() as on_fault:
            on_fault.push(self._pieces)
            self._progress.recall(self._open)
            on_fault.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            if not isinstance(error, PassingFault):  # it won't be tried again
                self._progress.forget()
            self._pieces.__exit__(kind, error, traceback)
            return
        with self._pieces:
            if self._connection is not None:
                self._progress.enter(self._connection, is_all=True)
        self._progress.forget()

    def __call__(self, call: CommandCall) -> Any:
        """Carry out a command, unless its answer is known."""
        answer = self._progress.find(call.name) or Answer(call.name, self._carry_out(call))
        self._progress.add(answer)
        if self._connection is None:  # whatever wrote it has committed
            self._progress.note_committed()
        return answer.value

    def _carry_out(self, call: CommandCall) -> Any:
        """Carry out a command in the way that its rights leave."""
        name, parameters, ways = call.name, call.parameters, self._access.ways
        needs = call.command.needs_for(parameters)
        way = ways.find(name, needs, parameters)
        if way not in {Way.SQL, Way.FORBIDDEN}:
            self._commit()
        with ways.explaining(name, needs, parameters, way=way):
            match way:
                case Way.NEW_BY_SQL:
                    self._access.add_images([cast("PerImageResult", parameters)])
                    return 1
                case Way.PROCEDURES:
                    return self._by_procedures(call)
                case Way.SQL_AND_PROCEDURES:
                    found = self._access.procedures.look_up(name, parameters)
                    return self._by_sql(call._replace(parameters=found))
                case _:
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
        if self._progress.is_entered:
            with transaction(self._access.engine) as connection:
                self._progress.enter_next(connection, call.name, answer)
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
            self._progress.enter(self._connection, is_all=False)
        self._connection = None
        self._progress.note_committed()
