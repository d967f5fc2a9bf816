"""What a database's user may do, as the server itself judges it: with all active roles, wildcards and columns.

`SHOW GRANTS` would have to be understood (patterns of names, ALL PRIVILEGES, roles within roles, each server's own
words). `information_schema` shows the outcome: the rights on each column, and of routines those that may be executed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError
from blocks.ispyb_connection import safe_url, transaction
from blocks.ispyb_faults import WRONG_PARAMETERS_MYSQL_CODE, explain, mysql_code
from tasks.ispyb_access.writing.grants.needs import NONE, Right, Rights

ALL: Final = Right.SELECT | Right.INSERT | Right.UPDATE | Right.DELETE
EMPTIED: Final = ("AutoProcScaling_has_Int", "XrayCentringResult")
"""The tables from which rows may be deleted: that right is a table's, so it doesn't stand beside the columns."""

OF_COLUMNS: Final = text(
    "SELECT LOWER(TABLE_NAME), PRIVILEGES FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
    "GROUP BY TABLE_NAME, PRIVILEGES"
)
ROUTINES: Final = text("SELECT LOWER(ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()")
USER: Final = text("SELECT CURRENT_USER(), DATABASE()")
INACTIVE_ROLES: Final = text(
    "SELECT DISTINCT ROLE_NAME FROM information_schema.APPLICABLE_ROLES WHERE ROLE_NAME NOT IN "
    "(SELECT ROLE_NAME FROM information_schema.ENABLED_ROLES WHERE ROLE_NAME IS NOT NULL)"
)

_known: WeakKeyDictionary[Engine, Granted] = WeakKeyDictionary()
_executable: WeakKeyDictionary[Engine, dict[str, bool]] = WeakKeyDictionary()
_asking = threading.Lock()  # each step asks from a thread of its own


@dataclass(frozen=True)
class Granted:
    """What a user may do in a database; names of tables and routines are in lower case.

    Parameters
    ----------
    user
        As the server calls it, such as `plaza@%`.
    database
        The database's name.
    rights
        By table, what it may do with all columns.
    routines
        The procedures and functions that it knows of: it may execute no others.
    is_all
        It may do everything.
    """

    user: str
    database: str
    rights: Rights
    routines: frozenset[str]
    is_all: bool = False

    def may(self, right: Right, table: str) -> bool:
        """Tell whether it has a right, or several, on all of a table."""
        return self.is_all or right in self.rights.get(table.lower(), NONE)

    def missing(self, rights: Rights) -> dict[str, Right]:
        """Return those of the rights that it lacks on a table or on some of its columns."""
        if self.is_all:
            return {}
        lacking = {table: right & ~self.rights.get(table.lower(), NONE) for table, right in rights.items()}
        return {table: right for table, right in lacking.items() if right}


def granted_to(engine: Engine) -> Granted:
    """Return what the user of a database may do there; asked once for each engine.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    ConfigurationError
        It refuses us altogether.
    """
    with _asking:
        if engine not in _known:
            _known[engine] = _ask(engine)
        return _known[engine]


def not_executable(engine: Engine, procedures: Iterable[str]) -> tuple[str, ...]:
    """Return the procedures that the user of a database may not execute, or that aren't there. Raises as `granted_to`.

    Users who may read everything know of procedures which they may not execute. So each is called without its
    parameters, once: the server refuses whom it must before it misses them. (It has to be one that has parameters.)
    """
    known = granted_to(engine).routines
    wanted = tuple(procedures)
    with _asking:
        found = _executable.setdefault(engine, {})
        for name in wanted:
            if name not in found:
                found[name] = name.lower() in known and _may_execute(engine, name)
    return tuple(name for name in wanted if not found[name])


def inactive_roles(engine: Engine) -> tuple[str, ...]:
    """Return the roles that a user was given, but that aren't active: they have to be made its default.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    """
    if engine.dialect.name == "sqlite":
        return ()
    try:
        with transaction(engine, read_only=True) as connection:
            return tuple(connection.scalars(INACTIVE_ROLES))
    except (ConfigurationError, DBAPIError):  # servers from before there were roles
        return ()


def _ask(engine: Engine) -> Granted:
    if engine.dialect.name == "sqlite":  # whoever can write the file
        return Granted("", "", {}, frozenset(), is_all=True)
    with transaction(engine, read_only=True) as connection:
        user, database = connection.execute(USER).one()
        of_columns: dict[str, list[Right]] = {}
        for table, privileges in connection.execute(OF_COLUMNS):
            of_columns.setdefault(table, []).append(_rights(privileges))
        deletable = {table.lower(): Right.DELETE for table in EMPTIED if _may_delete(connection, table)}
        routines = frozenset(connection.scalars(ROUTINES))
    by_table = {table: reduce(and_, rights) | deletable.get(table, NONE) for table, rights in of_columns.items()}
    return Granted(user, database or "", by_table, routines)


def _rights(privileges: str) -> Right:
    """Read rights as they stand beside a column: `select,insert,references`."""
    names = set(privileges.upper().split(","))
    return reduce(or_, (right for right in Right if right.name in names), NONE)


def _may_execute(engine: Engine, procedure: str) -> bool:
    try:
        with transaction(engine, read_only=True) as connection:
            connection.execute(text(f"CALL `{procedure}`()")).close()
    except ConfigurationError as error:  # denied, or there but for the parameters
        cause = error.__cause__
        return isinstance(cause, DBAPIError) and mysql_code(cause) == WRONG_PARAMETERS_MYSQL_CODE
    return False


def _may_delete(connection: Connection, table: str) -> bool:
    """Ask how rows would be deleted: only who may delete them is told, and none are."""
    try:
        connection.execute(text(f"EXPLAIN DELETE FROM `{table}` WHERE FALSE")).close()
    except DBAPIError as error:
        if isinstance(explain(safe_url(connection.engine), error), ConfigurationError):
            return False
        raise
    return True
