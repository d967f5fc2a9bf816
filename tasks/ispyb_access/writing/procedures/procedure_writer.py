"""The writer for sites whose grants forbid direct SQL."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError, MessageRefused
from blocks.ispyb_connection import safe_url, transaction
from blocks.ispyb_faults import explain
from tasks.ispyb_access.writing.commands import CommandCall
from tasks.ispyb_access.writing.commands.image_quality import PER_IMAGE, PerImageResult
from tasks.ispyb_access.writing.ledger import has_ledger, write_once
from tasks.ispyb_access.writing.procedures.calling import Procedures
from tasks.ispyb_access.writing.procedures.coverage import LOOK_UPS, NOT_COVERED, PROCEDURES
from tasks.ispyb_access.writing.refusals import named
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters

Parameters = TypeVar("Parameters", bound=CommandParameters)

logger = logging.getLogger(__name__)


class ProcedureWriter:
    """Writes by ISPyB's stored procedures: at least once, and piece by piece.

    Each procedure commits by itself. A list of commands that fails half-way stays written up to there, and so does a
    job. Where the ledger can be used, an entry after each command sees to it that a message which comes again goes on
    where it was left; a process that is killed between a procedure and its entry, or a database that goes away then,
    has that one command carried out twice. Without a ledger the whole message is written again.

    Parameters
    ----------
    engine
        ISPyB on MariaDB or MySQL: its URL says where the procedures are, and it reaches the ledger.

    Raises
    ------
    ConfigurationError
        The database is of a kind that has no procedures.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.dialect.name not in {"mysql", "mariadb"}:
            raise ConfigurationError(
                f"{safe_url(engine)} has no stored procedures: set PLAZA_ISPYB_WRITER, or `writer` of the block "
                "ispyb-database/plaza, to sql"
            )
        self._engine, self._procedures = engine, Procedures(engine.url)
        logger.info(
            "what stored procedures write to ISPyB at %s is committed one by one: at least once, not exactly once",
            safe_url(engine),
        )

    @contextmanager
    def session(self, entry: str | None) -> Iterator[ProcedureSession]:
        """Give what carries out commands, but for those that were carried out before under this entry's name."""
        is_entered = has_ledger(self._engine)
        yield ProcedureSession(self, entry if is_entered else None, is_entered)

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write the results, image by image; a refusal names the image, and those before it are written."""
        for result in sorted(results, key=lambda result: (result.dcid, result.image_number)):
            self.call(PER_IMAGE, result)

    def call(self, name: str, parameters: CommandParameters) -> Any:
        """Carry out a command. Raises as `Writer.session` does."""
        with self._understood(), named(name, parameters, safe_url(self._engine)):
            if name in NOT_COVERED:
                raise MessageRefused(
                    f"ISPyB's stored procedures can't do that: {NOT_COVERED[name]}. Leave the command out of the "
                    "recipe, or have the grants given for PLAZA_ISPYB_WRITER=sql"
                )
            return self._procedures.call(lambda ispyb: PROCEDURES[name](ispyb, parameters))

    def look_up(self, name: str, parameters: Parameters) -> Parameters:
        """Return a command's parameters with what procedures know of them. Raises as `Writer.session` does."""
        with self._understood(), named(name, parameters, safe_url(self._engine)):
            found: Parameters = self._procedures.call(lambda ispyb: LOOK_UPS[name](ispyb, parameters))
            return found

    def call_once(self, entry: str, name: str, parameters: CommandParameters) -> Any:
        """Carry out a command unless the ledger knows it; return its answer, new or old."""
        with transaction(self._engine) as connection:
            return write_once(connection, entry, lambda: self.call(name, parameters))

    def close(self) -> None:
        """Close the connection to the procedures."""
        self._procedures.close()

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise explain(safe_url(self._engine), error) from error


class ProcedureSession:
    """The commands of one piece of work, each with an entry of its own in the ledger."""

    left = "the steps before it stay written"

    def __init__(self, writer: ProcedureWriter, entry: str | None, has_ledger: bool) -> None:
        self._writer, self._entry, self._has_ledger, self._done = writer, entry, has_ledger, 0

    def __call__(self, call: CommandCall) -> Any:
        """Carry out a command, unless the ledger has its answer."""
        self._done += 1
        entry = self._entry_of(call)
        if entry is None:
            return self._writer.call(call.name, call.parameters)
        return self._writer.call_once(entry, call.name, call.parameters)

    def _entry_of(self, call: CommandCall) -> str | None:
        """Return what names the command in the ledger; None if it has no entry."""
        if call.command.is_repeatable or not self._has_ledger:
            return None
        own = call.command.entry(call.parameters) if call.command.entry else None
        return own or (f"{self._entry}/{self._done}" if self._entry else None)
