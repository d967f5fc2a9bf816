"""What a database's faults mean: which pass by themselves, and which somebody has to mend.

Told by error code, since drivers raise the same fault as different classes.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError, DatabaseUnavailable

# Provoked by killing, freezing, filling and overloading servers, or said by MariaDB's manual to call for another try;
# 2055, 3024 and -1 are mysql-connector's.
TRANSIENT_MYSQL_CODES: Final = frozenset(
    {
        *(-1, 2002, 2003, 2006, 2013, 2055),  # the server is away, or went away
        *(1053, 1077, 1078, 1079, 1927, 1317),  # it shuts down, or an administrator ended the connection or statement
        *(1040, 1041, 1135, 1203, 1226, 1637),  # it or our user has too many connections, statements or threads
        *(1205, 1206, 1213, 1020, 1412, 1614),  # another transaction was in the way
        *(1158, 1159, 1160, 1161, 1184, 3024),  # the network failed, or no answer came in time
        *(1021, 1114, 1037, 1038),  # its disk or memory is full
        *(1047, 1180, 1290, 1836),  # it isn't yet, or no longer, the one of its cluster that takes writes
    }
)
NO_SPACE_MYSQL_CODES: Final = frozenset({3, 20, 1026, 1030})  # write errors, of which only a full disk's passes
NO_SPACE: Final = ("No space left on device", "quota exceeded")
TRANSIENT_SQLITE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# User or password, database, table, column, privilege, routine; 1698 is a socket's user who isn't the system's
ACCESS_MYSQL_CODES: Final = frozenset({1044, 1045, 1049, 1142, 1143, 1227, 1370, 1698})
NO_DATABASE_MYSQL_CODE: Final = 1044  # the database isn't for this user at all
RIGHTS_MYSQL_CODES: Final = frozenset(
    {NO_DATABASE_MYSQL_CODE, 1142, 1143, 1370}
)  # it lacks a right that can be granted
TABLE_ACCESS_MYSQL_CODES: Final = frozenset({1142, 1143})  # a table or a column isn't for this user
MISSING_COLUMN_MYSQL_CODE: Final = 1054
MISSING_TABLE_MYSQL_CODE: Final = 1146
WRONG_PARAMETERS_MYSQL_CODE: Final = 1318  # of a procedure: not as many as it has
MISSING_PROCEDURE_MYSQL_CODES: Final = frozenset({1305, WRONG_PARAMETERS_MYSQL_CODE})


def is_transient(error: DBAPIError) -> bool:
    """Tell by error code whether a database fault can pass by itself."""
    # SQLAlchemy knows the driver's lost connections, some of which (PyMySQL's "Already closed") have no code.
    if error.connection_invalidated:
        return True
    sqlite_code = getattr(error.orig, "sqlite_errorcode", None)
    if sqlite_code is not None:
        # SQLite's extended codes, such as SQLITE_BUSY_SNAPSHOT, have the plain one in their low byte.
        return (sqlite_code & 0xFF) in TRANSIENT_SQLITE_CODES
    code = mysql_code(error)
    if code in NO_SPACE_MYSQL_CODES:
        return any(sign in str(error.orig) for sign in NO_SPACE)
    return code in TRANSIENT_MYSQL_CODES


def explain(where: str, error: DBAPIError) -> Exception:
    """Return what a fault means; the fault itself if it's about the values that were to be written.

    Parameters
    ----------
    where
        The database, without its password.
    """
    cause, code = error.orig, mysql_code(error)
    if is_transient(error):
        return DatabaseUnavailable(
            f"ISPyB at {where} can't be used now: {cause}. Check that it is running and can be reached from here; "
            "writes are tried again until it answers"
        )
    if (reason := why_read_only(error)) is not None:
        return ConfigurationError(f"ISPyB at {where} {reason}")
    if code in ACCESS_MYSQL_CODES:
        return ConfigurationError(
            f"ISPyB at {where} refuses us: {cause}. Check user, password, database name and grants"
        )
    if code == MISSING_TABLE_MYSQL_CODE or "no such table" in str(cause):
        return ConfigurationError(f"ISPyB at {where} lacks a table: {cause}. Make the tables with `plaza ispyb create`")
    if code == MISSING_COLUMN_MYSQL_CODE or "no such column" in str(cause) or "has no column" in str(cause):
        return ConfigurationError(
            f"ISPyB at {where} lacks a column: {cause}. Bring its schema up to date with that of the package ispyb"
        )
    if code in MISSING_PROCEDURE_MYSQL_CODES:
        return ConfigurationError(
            f"ISPyB at {where} lacks a procedure, or has another of its name: {cause}. Bring its schema up to date "
            "with that of the package ispyb"
        )
    return error


def why_read_only(error: DBAPIError) -> str | None:
    """Say what this user can't do with SQLite's file; None if the fault is another."""
    sqlite_code = getattr(error.orig, "sqlite_errorcode", None)
    if sqlite_code is None or sqlite_code & 0xFF != sqlite3.SQLITE_READONLY:
        return None
    if sqlite_code == sqlite3.SQLITE_READONLY:
        return "can't be written by this user: its file is another's, or read-only"
    # Even to read, SQLite needs the files -wal and -shm beside it, which are there while a program has it open
    return (
        "can't be read by this user just now: who may not write in its folder can read it only while another program "
        "has it open. Ask its user, or have ISPyB in MariaDB"
    )


def mysql_code(error: DBAPIError) -> int | None:
    """Return the error code of a MySQL driver; None if it's another's error."""
    # mysql-connector has it as `errno`, PyMySQL as the first argument.
    arguments = getattr(error.orig, "args", ())
    code = getattr(error.orig, "errno", None) or (arguments[0] if arguments else None)
    return code if isinstance(code, int) else None
