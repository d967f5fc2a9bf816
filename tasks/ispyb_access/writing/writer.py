"""What writes to ISPyB: the one interface behind which a site chooses how.

`SqlWriter` is the default: whatever a message causes is one transaction, with an entry in the ledger. `ProcedureWriter`
calls the database's stored procedures instead, and can promise less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from blocks.errors import MessageRefused
from blocks.ispyb_connection import safe_url, transaction
from blocks.settings import Settings
from blocks.site_ispyb import writer_kind
from tasks.ispyb_access.writing.commands import CarryOut, CommandCall
from tasks.ispyb_access.writing.commands.image_quality import PER_IMAGE, PerImageResult, store_per_image_results
from tasks.ispyb_access.writing.ledger import find_entry, has_ledger, make_entry, write_once
from tasks.ispyb_access.writing.refusals import named


class Writer(Protocol):
    """Writes to ISPyB. Its methods wait for the database: call them in a thread."""

    is_atomic: bool
    """All that is carried out in one session is written, or nothing."""

    def session(self, entry: str | None) -> AbstractContextManager[CarryOut]:
        """Give what carries out the commands of one piece of work; they are written when the context ends.

        Parameters
        ----------
        entry
            What names the work, always the same for the same work: done before under this name, its commands aren't
            carried out again but have the same answers. None: it needn't or can't be known again.

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
        """Write many per-image results at once; twice is the same as once. Raises as `session` does."""
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

    @contextmanager
    def session(self, entry: str | None) -> Iterator[CarryOut]:
        """Open a transaction: all of it is written or nothing, and only once under an entry's name."""
        is_entered = has_ledger(self._engine)
        with transaction(self._engine) as connection:
            carry_out = partial(_carry_out, connection, is_entered)
            if entry is None or not is_entered:
                yield carry_out
            elif written := find_entry(connection, entry):
                yield _answer_from(written.answer)
            else:
                answers: list[Any] = []
                yield partial(_note, answers, carry_out)
                make_entry(connection, entry, answers)

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write the results in one transaction; a refusal names the first of them."""
        if results:
            with transaction(self._engine) as connection, named(PER_IMAGE, results[0], safe_url(self._engine)):
                store_per_image_results(connection, results)

    def close(self) -> None:
        """Do nothing: the engine is another's."""


def _carry_out(connection: Connection, is_entered: bool, call: CommandCall) -> Any:
    """Carry out a command; one that names its own entry isn't, if another message has had it carried out."""
    command, parameters = call.command, call.parameters
    own_entry = command.entry(parameters) if command.entry and is_entered else None
    with named(call.name, parameters, safe_url(connection.engine)):
        if own_entry is not None:
            return write_once(connection, own_entry, lambda: command.write(connection, parameters))
        return command.write(connection, parameters)


def _note(answers: list[Any], carry_out: CarryOut, call: CommandCall) -> Any:
    """Carry out a command, and note its answer for the ledger."""
    answers.append(carry_out(call))
    return answers[-1]


def _answer_from(answers: Iterable[Any]) -> CarryOut:
    """Return what answers from the ledger: with the same answers, a request asks for the same commands again."""
    left = iter(answers)

    def answer(call: CommandCall) -> Any:
        for value in left:
            return value
        raise MessageRefused(f"{call.name}: the message was written before, but with other commands")

    return answer


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
    from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter  # which brings another driver

    return ProcedureWriter(engine)
