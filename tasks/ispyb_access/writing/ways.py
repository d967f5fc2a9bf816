"""How a command gets into ISPyB with the rights there are: by SQL, by the database's procedures, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Final, NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_faults import MISSING_PROCEDURE_MYSQL_CODES, RIGHTS_MYSQL_CODES, mysql_code
from tasks.ispyb_access.writing.commands.image_quality import PER_IMAGE
from tasks.ispyb_access.writing.grants.granted import Granted, account, forget, granted_to, inactive_roles, known_of
from tasks.ispyb_access.writing.grants.needs import Needs, Right, Rights
from tasks.ispyb_access.writing.grants.procedures import grants_to_call, misfits, not_executable
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters

OF_RIGHTS: Final = RIGHTS_MYSQL_CODES | MISSING_PROCEDURE_MYSQL_CODES
"""What a server says if a way isn't open, or isn't any more."""


class Way(Enum):
    """How a command is carried out."""

    SQL = "by SQL"
    SQL_AND_READER = "by SQL, looking things up as the user for reading"
    SQL_AND_PROCEDURES = "by SQL, looking things up by procedures"
    NEW_BY_SQL = "by SQL for new images, by procedures for others"
    PROCEDURES = "by procedures"
    FORBIDDEN = "not at all"  # by SQL it's tried all the same: the server has the last word, and says what it misses


class Lack(NamedTuple):
    """What a user would have to be granted.

    Parameters
    ----------
    sql
        Statements with which a command can be carried out by SQL.
    procedures
        Those with which it can be by procedures; none if no procedures do it.
    hints
        What may be the cause.
    """

    sql: tuple[str, ...]
    procedures: tuple[str, ...]
    hints: tuple[str, ...]

    def __str__(self) -> str:
        choices = ["; ".join(statements) for statements in (self.sql, self.procedures) if statements]
        advice = [f"Have its administrator do: {' -- or: '.join(choices)}"] if choices else []
        return ". ".join([*advice, *self.hints])


class Ways:
    """The ways that are open to the users of a database.

    Parameters
    ----------
    writing
        ISPyB, as the user that writes.
    reading
        The same ISPyB as a user that reads; None: the one that writes does.
    """

    def __init__(self, writing: Engine, reading: Engine | None = None) -> None:
        self._writing, self._reading = writing, reading

    def find(self, name: str, needs: Needs, given: CommandParameters | str = "") -> Way:
        """Return the way of a command with certain needs: SQL wherever it may be, since it's exact.

        Parameters
        ----------
        given
            Its parameters, or in words of which kind they are: procedures may depend on them as needs do.
        """
        granted = granted_to(self._writing)
        if granted.is_all:
            return Way.SQL
        if not granted.missing(needs.own):
            if not self._unreadable(needs.looked_up):
                return Way.SQL_AND_READER if self._is_elsewhere(needs) else Way.SQL
            if self._may_call(name, given, looks_up=True):
                return Way.SQL_AND_PROCEDURES
        if name == PER_IMAGE and not granted.missing(dict.fromkeys(needs.own, Right.INSERT)):
            return Way.NEW_BY_SQL
        if self._may_call(name, given, looks_up=False):
            return Way.PROCEDURES
        return Way.FORBIDDEN

    def find_for_known_images(self) -> Way:
        """Return the way of results for images that have some, where those of new ones are written by SQL."""
        return Way.PROCEDURES if self._may_call(PER_IMAGE, "", looks_up=False) else Way.FORBIDDEN

    def lack(self, name: str, needs: Needs, given: CommandParameters | str | None = None) -> Lack:
        """Return what would have to be granted so that a command can be carried out; None: whatever is given."""
        from tasks.ispyb_access.writing.procedures.coverage import PROCEDURES, called  # which bring another driver

        writing = granted_to(self._writing)
        reader = granted_to(self._reading) if self._reading is not None else writing
        sql = (
            *_grants(writing, writing.missing(needs.own)),
            *_grants(reader, _selects(self._unreadable(needs.looked_up))),
        )
        calls = called(name, given) if name in PROCEDURES else {}
        return Lack(sql, grants_to_call(self._writing, calls), tuple(self._hints(calls)))

    def grants_for_reading(self, tables: Iterable[str]) -> tuple[str, ...]:
        """Return the statements that would let the user for reading read some tables, as far as it may not."""
        reader = granted_to(self._reading or self._writing)
        return _grants(reader, reader.missing(_selects(tables)))

    def grants_to_find(self, needs: Needs) -> tuple[str, ...]:
        """Return the statements that would let what was written before be found, where nobody may look."""
        return _grants(granted_to(self._reading or self._writing), _selects(self._unreadable(needs.asked)))

    @contextmanager
    def explaining(self, name: str, needs: Needs, given: CommandParameters | str = "", *, way: Way) -> Iterator[None]:
        """Have a refusal for want of rights say what would have to be granted.

        Parameters
        ----------
        way
            The one that is tried.

        Raises
        ------
        DatabaseUnavailable
            The rights aren't what they were when the way was found, and there is one with those of now.
        ConfigurationError
            The server refuses the user.
        """
        before = self._known()
        try:
            yield
        except ConfigurationError as error:
            if not isinstance(error.__cause__, DBAPIError) or mysql_code(error.__cause__) not in OF_RIGHTS:
                raise
            forget(self._writing, self._reading)
            now = self.find(name, needs, given)
            if now is not Way.FORBIDDEN and (now, self._known()) != (way, before):
                raise DatabaseUnavailable(
                    f"{error}. The rights have changed meanwhile: now it can be done {now.value}"
                ) from error
            lack = self.lack(name, needs, given)
            forget(self._writing, self._reading)  # so that what is granted now is known when the next one comes
            raise ConfigurationError(f"{error}. {lack}") from error

    def _known(self) -> tuple[Granted | None, ...]:
        return tuple(known_of(engine) for engine in (self._writing, self._reading) if engine is not None)

    def who_reads(self, tables: Iterable[str]) -> Engine | None:
        """Return ISPyB as a user who may read all of some tables; None if nobody may."""
        wanted = _selects(tables)
        engines = (engine for engine in (self._writing, self._reading) if engine is not None)
        return next((engine for engine in engines if not granted_to(engine).missing(wanted)), None)

    def _unreadable(self, looks: Iterable[frozenset[str]]) -> frozenset[str]:
        """Return the tables that whoever reads may not read, of those that neither user may read together."""
        reader = self._reading or self._writing  # asked only where it's needed: it may hang
        lacking = (granted_to(reader).missing(_selects(tables)) for tables in looks if self.who_reads(tables) is None)
        return frozenset(table for tables in lacking for table in tables)

    def _is_elsewhere(self, needs: Needs) -> bool:
        """Tell whether the user for reading has to look something up."""
        readers = (self.who_reads(tables) for tables in needs.looked_up | needs.asked)
        return any(reader not in {self._writing, None} for reader in readers)

    def _may_call(self, name: str, given: CommandParameters | str, *, looks_up: bool) -> bool:
        from tasks.ispyb_access.writing.procedures.coverage import LOOK_UPS, PROCEDURES, called

        if name not in (LOOK_UPS if looks_up else PROCEDURES):
            return False
        return not not_executable(self._writing, called(name, given))

    def _hints(self, calls: Mapping[str, int]) -> Iterable[str]:
        yield from misfits(self._writing, calls)
        for engine in dict.fromkeys((self._writing, self._reading or self._writing)):
            for role in inactive_roles(engine):
                user = account(granted_to(engine).user)
                yield f"The role {role} isn't active for {user}: SET DEFAULT ROLE `{role}` FOR {user}"


def _selects(tables: Iterable[str]) -> Rights:
    return dict.fromkeys(sorted(tables), Right.SELECT)


def _grants(granted: Granted, missing: Rights) -> tuple[str, ...]:
    return tuple(
        f"GRANT {rights} ON `{granted.database}`.`{table}` TO {account(granted.user)}"
        for table, rights in missing.items()
    )
