"""What a database's user may do, as the server itself judges it: with all active roles, wildcards and columns.

`SHOW GRANTS` would have to be understood (patterns of names, ALL PRIVILEGES, roles within roles, each server's own
words). `information_schema` shows the outcome: the rights on each column.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_, or_
from time import monotonic
from typing import Final, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_connection import open_engine, safe_url, transaction
from blocks.ispyb_faults import NO_DATABASE_MYSQL_CODE, explain, mysql_code
from tasks.ispyb_access.writing.grants.needs import NONE, Right, Rights

ALL: Final = Right.SELECT | Right.INSERT | Right.UPDATE | Right.DELETE
EMPTIED: Final = ("AutoProcScaling_has_Int", "XrayCentringResult")
"""The tables from which rows may be deleted: that right is a table's, so it doesn't stand beside the columns."""

OF_COLUMNS: Final = text(
    "SELECT LOWER(TABLE_NAME), PRIVILEGES FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
    "GROUP BY TABLE_NAME, PRIVILEGES"
)
USER: Final = text("SELECT CURRENT_USER(), DATABASE()")
IS_THERE: Final = text(
    "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :table"
)
INACTIVE_ROLES: Final = text(
    "SELECT DISTINCT ROLE_NAME FROM information_schema.APPLICABLE_ROLES WHERE ROLE_NAME NOT IN "
    "(SELECT ROLE_NAME FROM information_schema.ENABLED_ROLES WHERE ROLE_NAME IS NOT NULL)"
)
KEPT_S: Final = 60.0
"""For how long an answer counts: rights are granted and revoked while Plaza runs."""


@dataclass(frozen=True)
class Granted:
    """What a user may do in a database; names of tables are in lower case.

    Parameters
    ----------
    user
        As the server calls it, such as `plaza@%`.
    database
        The database's name.
    rights
        By table, what it may do with all columns.
    is_all
        It may do everything.
    """

    user: str
    database: str
    rights: Rights
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


@dataclass(frozen=True)
class Answers:
    """What a server has said of a user.

    Parameters
    ----------
    granted
        Its rights.
    asked_at
        When, by the clock that counts seconds since the machine's start.
    parameters
        Of the procedures that were asked about, the number of their parameters; None: they aren't for this user.
    """

    granted: Granted
    asked_at: float
    parameters: dict[str, int | None] = field(default_factory=dict)

    @property
    def is_old(self) -> bool:
        """The rights may be others by now."""
        return not self.granted.is_all and monotonic() - self.asked_at > KEPT_S


_known: WeakKeyDictionary[Engine, Answers] = WeakKeyDictionary()
_keeping = threading.Lock()  # not held while a server is asked: one that hangs would stop those who write to others


def granted_to(engine: Engine) -> Granted:
    """Return what the user of a database may do there, as it was within the last minute.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    ConfigurationError
        It refuses us altogether.
    """
    return answers_of(engine).granted


def known_of(engine: Engine) -> Granted | None:
    """Return what is known of the rights of a database's user, without asking; None if nothing is."""
    with _keeping:
        known = _known.get(engine)
    return None if known is None else known.granted


def answers_of(engine: Engine) -> Answers:
    """Return what the server has said of the user of a database within the last minute. Raises as `granted_to` does."""
    with _keeping:
        known = _known.get(engine)
        if known is not None and not known.is_old:
            return known
        if known is not None:  # others go on with it meanwhile: they may hold all connections but one
            _known[engine] = replace(known, asked_at=monotonic())
    try:
        found = Answers(_ask(engine), monotonic())
    except (ConfigurationError, DatabaseUnavailable):
        forget(engine)
        raise
    with _keeping:
        _known[engine] = found
    return found


def forget(*engines: Engine | None) -> None:
    """Have the servers asked anew: they have refused what they had granted, or there is something new to ask about."""
    with _keeping:
        for engine in engines:
            if engine is not None:
                _known.pop(engine, None)


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


def may_create(engine: Engine, table: str) -> bool:
    """Tell whether a user may make a table that isn't there, by a statement that nobody could carry out.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    """
    try:
        with transaction(engine) as connection:
            if connection.scalar(IS_THERE, {"table": table}):
                return False
            connection.execute(text(f"CREATE TABLE `{table}` (twice INT, twice INT)"))
    except ConfigurationError:
        return False
    except DBAPIError:  # a column stands there twice, which is looked at after the rights
        return True
    return True


def account(user: str) -> str:
    """Return a user, as the server calls it, as it stands in GRANT."""
    name, _, host = user.rpartition("@")
    return f"'{name}'@'{host}'"


def _ask(engine: Engine) -> Granted:
    if engine.dialect.name == "sqlite":  # whoever can write the file
        return Granted("", "", {}, is_all=True)
    try:
        return _ask_server(engine)
    except ConfigurationError as error:
        if isinstance(error.__cause__, DBAPIError) and mysql_code(error.__cause__) == NO_DATABASE_MYSQL_CODE:
            _refuse(engine, error)
        raise


def _refuse(engine: Engine, error: ConfigurationError) -> NoReturn:
    """Say of a user that may not even come in whether it would if its roles were active."""
    outside = open_engine(engine.url.set(database="information_schema"))  # where everybody may look
    try:
        roles = inactive_roles(outside)
        with transaction(outside, read_only=True) as connection:
            user, _ = connection.execute(USER).one()
    finally:
        outside.dispose()
    hints = (f". Its role {role} isn't active: SET DEFAULT ROLE `{role}` FOR {account(user)}" for role in roles)
    raise ConfigurationError(f"{error}{''.join(hints)}") from error.__cause__


def _ask_server(engine: Engine) -> Granted:
    with transaction(engine, read_only=True) as connection:
        user, database = connection.execute(USER).one()
        of_columns: dict[str, list[Right]] = {}
        for table, privileges in connection.execute(OF_COLUMNS):
            of_columns.setdefault(table, []).append(_rights(privileges))
        deletable = {table.lower(): Right.DELETE for table in EMPTIED if _may_delete(connection, table)}
    by_table = {table: reduce(and_, rights) | deletable.get(table, NONE) for table, rights in of_columns.items()}
    return Granted(user, database or "", by_table)


def _rights(privileges: str) -> Right:
    """Read rights as they stand beside a column: `select,insert,references`."""
    names = set(privileges.upper().split(","))
    return reduce(or_, (right for right in Right if right.name in names), NONE)


def _may_delete(connection: Connection, table: str) -> bool:
    """Ask how rows would be deleted: only who may delete them is told, and none are."""
    try:
        connection.execute(text(f"EXPLAIN DELETE FROM `{table}` WHERE FALSE")).close()
    except DBAPIError as error:
        if isinstance(explain(safe_url(connection.engine), error), ConfigurationError):
            return False
        raise
    return True
