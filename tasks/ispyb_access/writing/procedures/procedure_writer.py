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
from blocks.ispyb_faults import MISSING_PROCEDURE_MYSQL_CODES, RIGHTS_MYSQL_CODES, explain, mysql_code
from tasks.ispyb_access.writing.answers import Answer
from tasks.ispyb_access.writing.commands import CommandCall
from tasks.ispyb_access.writing.commands.image_quality import PER_IMAGE, PerImageResult
from tasks.ispyb_access.writing.grants.granted import forget
from tasks.ispyb_access.writing.grants.procedures import grants_to_call, misfits
from tasks.ispyb_access.writing.ledger import has_ledger, write_once
from tasks.ispyb_access.writing.procedures.calling import Procedures
from tasks.ispyb_access.writing.procedures.coverage import LOOK_UPS, NOT_COVERED, PROCEDURES, called
from tasks.ispyb_access.writing.refusals import named
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters

Parameters = TypeVar("Parameters", bound=CommandParameters)

logger = logging.getLogger(__name__)


def require_procedures(engine: Engine) -> None:
    """Check that a database is of a kind that has procedures.

    Raises
    ------
    ConfigurationError
        It isn't.
    """
    if engine.dialect.name not in {"mysql", "mariadb"}:
        raise ConfigurationError(
            f"{safe_url(engine)} has no stored procedures: set PLAZA_ISPYB_WRITER, or `writer` of the block "
            "ispyb-database/plaza, to sql"
        )


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
        require_procedures(engine)
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
        with self.explaining(PER_IMAGE):
            self.call_for_images(results)

    def call_for_images(self, results: Sequence[PerImageResult]) -> None:
        """Write the results, image by image. Raises as `Writer.session` does."""
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

    @contextmanager
    def explaining(self, name: str, given: CommandParameters | str = "") -> Iterator[None]:
        """Have a refusal for want of rights say which procedures would have to be granted.

        Raises
        ------
        ConfigurationError
            The server refuses the user.
        """
        try:
            yield
        except ConfigurationError as error:
            code = mysql_code(error.__cause__) if isinstance(error.__cause__, DBAPIError) else None
            if code in MISSING_PROCEDURE_MYSQL_CODES:
                raise ConfigurationError(f"{error}, or let Plaza write by SQL (PLAZA_ISPYB_WRITER=sql)") from error
            if code not in RIGHTS_MYSQL_CODES:
                raise
            forget(self._engine)
            calls = called(name, given)
            advice = "; ".join(grants_to_call(self._engine, calls))
            hints = [f"Have its administrator do: {advice}"] if advice else []
            raise ConfigurationError(". ".join([str(error), *hints, *misfits(self._engine, calls)])) from error

    def call_once(self, entry: str, name: str, parameters: CommandParameters) -> Any:
        """Carry out a command unless the ledger knows it; return its answer, new or old."""
        with transaction(self._engine) as connection:
            return write_once(connection, entry, lambda: self.call(name, parameters))

    def call_once_in_list(self, entry: str, name: str, parameters: CommandParameters) -> Any:
        """Do as `call_once`, where the entry says only which command of a list it is, and refuse another's answer."""
        with transaction(self._engine) as connection:
            entered = write_once(connection, entry, lambda: Answer(name, self.call(name, parameters)).as_json())
        return Answer.from_json(entered).of(name)

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
        with self._writer.explaining(call.name, call.parameters):
            if call.command.is_repeatable or not self._has_ledger:
                return self._writer.call(call.name, call.parameters)
            own = call.command.entry(call.parameters) if call.command.entry else None
            if own is not None:
                return self._writer.call_once(own, call.name, call.parameters)
            if self._entry is not None:
                return self._writer.call_once_in_list(f"{self._entry}/{self._done}", call.name, call.parameters)
            return self._writer.call(call.name, call.parameters)
