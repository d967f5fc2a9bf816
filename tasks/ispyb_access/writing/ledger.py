"""The ledger: which messages have been written to ISPyB, and what the answers were.

An entry is written in the transaction of what it stands for, so either both are there or neither. A message that comes
again, as its run was killed between the database's commit and the journal, finds its entry and gets the same answer.

The table is Plaza's own and stands beside ISPyB's. Where it can't be made, for want of grants, writing goes on
without it: at least once then, not exactly once.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Column, Connection, DateTime, Engine, MetaData, String, Table, Text, insert, inspect, select
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateTable

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_connection import safe_url, transaction
from blocks.sqlite_file import MissingDatabase
from tasks.ispyb_access.writing.grants.granted import Granted, forget, granted_to
from tasks.ispyb_access.writing.grants.needs import Right, Rights

logger = logging.getLogger(__name__)

KEY_LENGTH = 190  # characters of up to four bytes: InnoDB's older row formats index 767 bytes

TABLE = Table(
    "plaza_ledger",
    MetaData(),  # not ISPyB's: its tables are as they are
    Column(
        # Compared byte by byte: by default a server takes upper and lower case, and é and e, for the same
        "entry",
        String(KEY_LENGTH).with_variant(mysql.VARCHAR(KEY_LENGTH, collation="utf8mb4_bin"), "mysql", "mariadb"),
        primary_key=True,
        comment="recipe run / message / what was done",
    ),
    # A TEXT has 64 kB: the answers of a long list may be more
    Column("answer", Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False, comment="JSON"),
    Column("recordTimeStamp", DateTime, nullable=False),
    mysql_engine="InnoDB",  # a server's default engine needn't have transactions
    mariadb_engine="InnoDB",
)
CREATE_TABLE = CreateTable(TABLE, if_not_exists=True)
RIGHTS: Rights = {TABLE.name: Right.SELECT | Right.INSERT}


class Usability(NamedTuple):
    """Whether there is a ledger that may be used.

    Parameters
    ----------
    rights
        Those that the user had when that was found out.
    is_usable
        It may be used.
    """

    rights: Granted
    is_usable: bool


_usable: WeakKeyDictionary[Engine, Usability] = WeakKeyDictionary()
_told: WeakSet[Engine] = WeakSet()


class LedgerEntry(NamedTuple):
    """What the ledger says of a write that was done.

    Parameters
    ----------
    answer
        What was answered: a JSON value.
    """

    answer: Any


def write_once(connection: Connection, key: str, write: Callable[[], Any]) -> Any:
    """Write within the caller's transaction unless that was done under this key; return the answer, new or old.

    Parameters
    ----------
    key
        The message's key and what is done for it: one entry for each write that a message causes.
    write
        Writes and returns a JSON value.

    Raises
    ------
    DatabaseUnavailable
        As `make_entry` does.
    """
    if entry := find_entry(connection, key):
        return entry.answer
    answer = write()
    make_entry(connection, key, answer)
    return answer


def find_entry(connection: Connection, key: str) -> LedgerEntry | None:
    """Return the entry of this key; None if nothing was written under it."""
    row = connection.execute(select(TABLE.c.answer).where(TABLE.c.entry == _fitting(key))).one_or_none()
    if row is None:
        return None
    logger.info("%s was written before; its answer is given again", key)
    return LedgerEntry(json.loads(row.answer))


def make_entry(connection: Connection, key: str, answer: Any) -> None:
    """Enter what was answered, in the transaction of what was written.

    Raises
    ------
    DatabaseUnavailable
        Another process has made the entry meanwhile: the next try finds it.
    """
    row = {"entry": _fitting(key), "answer": json.dumps(answer), "recordTimeStamp": datetime.now()}
    try:
        connection.execute(insert(TABLE).values(row))
    except IntegrityError as error:
        raise DatabaseUnavailable(f"{key} is being written by another process") from error


def _fitting(key: str) -> str:
    """Return a key that the table has room for."""
    return key if len(key) <= KEY_LENGTH else hashlib.sha256(key.encode()).hexdigest()


def has_ledger(engine: Engine) -> bool:
    """Tell whether a database has a ledger, after making one if it can be made; asked whenever rights are.

    A transaction of its own, before that of the writes: making a table would commit them on a server.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    MissingDatabase
        SQLite's file isn't there.
    """
    try:
        known = _usable.get(engine)
        if known is None or known.rights is not granted_to(engine):
            is_usable = _find_or_make(engine)
            known = _usable[engine] = Usability(granted_to(engine), is_usable)
    except MissingDatabase:
        raise
    except ConfigurationError as error:  # it lets us in no more, as the work itself will say
        _tell(engine, error)
        return False
    return known.is_usable


def _find_or_make(engine: Engine) -> bool:
    try:
        with transaction(engine, read_only=True) as connection:
            is_there = inspect(connection).has_table(TABLE.name)
        if is_there:
            if granted_to(engine).missing(RIGHTS):
                forget(engine)  # the table may be newer than what is known of our rights
            _require_rights(engine)
            return True
        with transaction(engine) as connection:
            connection.execute(CREATE_TABLE)
        forget(engine)
    except MissingDatabase:
        raise
    except (ConfigurationError, DBAPIError) as error:
        _tell(engine, error)
        return False
    return True


def _tell(engine: Engine, error: Exception) -> None:
    """Warn that there is no ledger, once."""
    logger.log(
        logging.DEBUG if engine in _told else logging.WARNING,
        "ISPyB at %s has no table %s that can be used, nor can it be made: a message that comes again after a "
        "crash may be written twice. docs/how-to/use-your-own-ispyb.md tells how to make it. %s",
        *(safe_url(engine), TABLE.name, error),
    )
    _told.add(engine)


def _require_rights(engine: Engine) -> None:
    """Check that entries may be made and found.

    Raises
    ------
    ConfigurationError
        The table isn't for this user.
    """
    if missing := granted_to(engine).missing(RIGHTS):
        raise ConfigurationError(f"{granted_to(engine).user} lacks {missing[TABLE.name]} on {TABLE.name}")
