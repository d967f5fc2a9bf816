"""What writes to ISPyB: the one interface behind which a site chooses how.

`SqlWriter` is the default: whatever a message causes is one transaction, with an entry in the ledger. `ProcedureWriter`
calls the database's stored procedures instead, and can promise less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine

from blocks.ispyb_connection import describe, transaction, writer_kind
from blocks.settings import Settings
from tasks.ispyb_access.writing.commands import (
    BUFFER_COMMANDS,
    COMMANDS,
    CommandParameters,
    PerImageResult,
    store_per_image_results,
)
from tasks.ispyb_access.writing.ledger import has_ledger, write_once
from tasks.ispyb_access.writing.refusals import named

Answer = TypeVar("Answer")

CarryOut = Callable[[str, CommandParameters], Any]
"""Carries out a command of that name, and returns its value."""


class Writer(Protocol):
    """Writes to ISPyB. Its methods wait for the database: call them in a thread."""

    is_atomic: bool
    """All of the work of one `write` is written, or nothing."""

    def write(self, entry: str | None, work: Callable[[CarryOut], Answer]) -> Answer:
        """Do some work, which carries out commands, and return its answer.

        Parameters
        ----------
        entry
            What names the work, always the same for the same work: done before under this name, it isn't done again
            and has the same answer. None: it needn't or can't be known again.
        work
            Called with what carries out a command; returns a JSON value. It may be called again after a fault.

        Raises
        ------
        MessageRefused
            ISPyB can't take what a command would write.
        DatabaseUnavailable
            A fault that can pass; the work may be tried again from its start.
        ConfigurationError
            The credentials, grants or tables don't do.
        """
        ...

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write many per-image results at once; twice is the same as once. Raises as `write` does."""
        ...

    def close(self) -> None:
        """Close the connections that are the writer's own."""
        ...


class SqlWriter:
    """Writes by SQL of its own: a transaction for all the work, exactly once where there is a ledger.

    Parameters
    ----------
    engine
        ISPyB; whoever opened it closes it.
    """

    is_atomic = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, entry: str | None, work: Callable[[CarryOut], Answer]) -> Answer:
        """Do the work in one transaction: all of it is written or nothing, and only once under an entry's name."""
        is_entered = has_ledger(self._engine)
        with transaction(self._engine) as connection:
            carry_out = _Session(connection, is_entered).carry_out
            if entry is None or not is_entered:
                return work(carry_out)
            answer: Answer = write_once(connection, entry, lambda: work(carry_out))
            return answer

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write the results in one transaction; a refusal names the first of them."""
        if results:
            command, where = "store_per_image_analysis_results", describe(self._engine)
            with transaction(self._engine) as connection, named(command, results[0], where):
                store_per_image_results(connection, results)

    def close(self) -> None:
        """Do nothing: the engine is another's."""


class _Session:
    """The commands that are carried out in one transaction."""

    def __init__(self, connection: Connection, has_ledger: bool) -> None:
        self._connection, self._has_ledger = connection, has_ledger

    def carry_out(self, name: str, parameters: CommandParameters) -> Any:
        command = COMMANDS.get(name) or BUFFER_COMMANDS[name]
        entry = command.entry(parameters) if command.entry and self._has_ledger else None
        with named(name, parameters, describe(self._connection.engine)):
            if entry is not None:
                return write_once(self._connection, entry, lambda: command.write(self._connection, parameters))
            return command.write(self._connection, parameters)


def open_writer(settings: Settings, engine: Engine) -> Writer:
    """Return the writer that the site has chosen; the caller closes it.

    Raises
    ------
    ConfigurationError
        The database isn't one for it.
    DatabaseUnavailable
        The Prefect API, which may hold the choice, doesn't answer.
    """
    if writer_kind(settings) == "sql":
        return SqlWriter(engine)
    from tasks.ispyb_access.writing.procedures import ProcedureWriter  # which brings another driver

    return ProcedureWriter(engine)
