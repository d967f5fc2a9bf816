"""How a command gets into ISPyB with the rights there are: by SQL, by the database's procedures, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError
from blocks.ispyb_faults import ACCESS_MYSQL_CODES, mysql_code
from tasks.ispyb_access.writing.commands.image_quality import PER_IMAGE
from tasks.ispyb_access.writing.grants.granted import Granted, granted_to, inactive_roles, not_executable
from tasks.ispyb_access.writing.grants.needs import Needs, Right, Rights


class Way(Enum):
    """How a command is carried out."""

    SQL = "by SQL"
    SQL_AND_READER = "by SQL, looking things up as the user for reading"
    SQL_AND_PROCEDURES = "by SQL, looking things up by procedures"
    NEW_BY_SQL = "by SQL for new images, by procedures for others"
    PROCEDURES = "by procedures"
    NONE = "not at all"  # but the server has the last word


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
        return ". ".join([f"Have its administrator do: {' -- or: '.join(choices)}", *self.hints])


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

    def find(self, name: str, needs: Needs) -> Way:
        """Return the way of a command with certain needs: SQL wherever it may be, since it's exact."""
        granted = granted_to(self._writing)
        if granted.is_all:
            return Way.SQL
        if not granted.missing(needs.own):
            if not self._unreadable(needs.looked_up):
                return Way.SQL_AND_READER if self._is_elsewhere(needs) else Way.SQL
            if self._may_call(name, looks_up=True):
                return Way.SQL_AND_PROCEDURES
        if name == PER_IMAGE and not granted.missing(dict.fromkeys(needs.own, Right.INSERT)):
            return Way.NEW_BY_SQL
        if self._may_call(name, looks_up=False):
            return Way.PROCEDURES
        return Way.NONE

    def lack(self, name: str, needs: Needs) -> Lack:
        """Return what would have to be granted so that a command can be carried out."""
        from tasks.ispyb_access.writing.procedures.coverage import CALLS, PROCEDURES  # which bring another driver

        writing = granted_to(self._writing)
        reader = granted_to(self._reading) if self._reading is not None else writing
        sql = (
            *_grants(writing, writing.missing(needs.own)),
            *_grants(reader, _selects(self._unreadable(needs.looked_up))),
        )
        routines = not_executable(self._writing, CALLS[name]) if name in PROCEDURES else ()
        calls = tuple(
            f"GRANT EXECUTE ON PROCEDURE `{writing.database}`.`{routine}` TO {_account(writing)}"
            for routine in routines
        )
        return Lack(sql, calls, tuple(self._hints()))

    def grants_for_reading(self, tables: Iterable[str]) -> tuple[str, ...]:
        """Return the statements that would let the user for reading read some tables, as far as it may not."""
        reader = granted_to(self._reading or self._writing)
        return _grants(reader, reader.missing(_selects(tables)))

    @contextmanager
    def explaining(self, name: str, needs: Needs) -> Iterator[None]:
        """Have a refusal for want of rights say what would have to be granted.

        Raises
        ------
        ConfigurationError
            The server refuses the user.
        """
        try:
            yield
        except ConfigurationError as error:
            if not isinstance(error.__cause__, DBAPIError) or mysql_code(error.__cause__) not in ACCESS_MYSQL_CODES:
                raise
            raise ConfigurationError(f"{error}. {self.lack(name, needs)}") from error

    def who_reads(self, tables: Iterable[str]) -> Engine | None:
        """Return ISPyB as a user who may read all of some tables; None if nobody may."""
        wanted = _selects(tables)
        engines = (engine for engine in (self._writing, self._reading) if engine is not None)
        return next((engine for engine in engines if not granted_to(engine).missing(wanted)), None)

    def _unreadable(self, tables: frozenset[str]) -> frozenset[str]:
        """Return the tables that neither user may read."""
        lacking = granted_to(self._writing).missing(_selects(tables))
        if lacking and self._reading is not None:
            lacking = granted_to(self._reading).missing(lacking)
        return frozenset(lacking)

    def _is_elsewhere(self, needs: Needs) -> bool:
        """Tell whether the user for reading has to look something up."""
        wanted = needs.looked_up | (needs.asked - self._unreadable(needs.asked))
        return bool(granted_to(self._writing).missing(_selects(wanted)))

    def _may_call(self, name: str, *, looks_up: bool) -> bool:
        from tasks.ispyb_access.writing.procedures.coverage import CALLS, LOOK_UPS, PROCEDURES

        return name in (LOOK_UPS if looks_up else PROCEDURES) and not not_executable(self._writing, CALLS[name])

    def _hints(self) -> Iterable[str]:
        for engine in dict.fromkeys((self._writing, self._reading or self._writing)):
            for role in inactive_roles(engine):
                account = _account(granted_to(engine))
                yield f"The role {role} isn't active for {account}: SET DEFAULT ROLE `{role}` FOR {account}"


def _selects(tables: Iterable[str]) -> Rights:
    return dict.fromkeys(sorted(tables), Right.SELECT)


def _grants(granted: Granted, missing: Rights) -> tuple[str, ...]:
    return tuple(
        f"GRANT {rights} ON `{granted.database}`.`{table}` TO {_account(granted)}" for table, rights in missing.items()
    )


def _account(granted: Granted) -> str:
    user, _, host = granted.user.rpartition("@")
    return f"'{user}'@'{host}'"
