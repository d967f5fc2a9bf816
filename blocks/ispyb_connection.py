"""How to reach ISPyB: one SQLAlchemy engine for SQLite, MariaDB and MySQL, and what its faults mean.

Which ISPyB is the site's is for `blocks.site_ispyb` to say.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from blocks.errors import ConfigurationError, DatabaseUnavailable
from blocks.ispyb_faults import explain
from blocks.ispyb_times import pymysql_conversions
from blocks.retrying import Pauses, retry_blocking
from blocks.sqlite_file import connect_to_file
from blocks.sqlite_values import read_any_text, read_sqlite_leniently

Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 10  # PyMySQL's own; mysql-connector has none
ANSWER_TIMEOUT_S = 60  # a frozen server would otherwise hang the caller for good, pool_pre_ping included
POOL_RECYCLE_S = 3600  # below a server's wait_timeout (8 h, unless a site says less), after which it hangs up
PAUSES = Pauses(first_s=0.1, longest_s=3.0)  # so that all goes on within 5 s of the database's return
# Without it a server cuts text, clips numbers and turns unknown characters into "?" without a word.
STRICT = "SET SESSION sql_mode = CONCAT_WS(',', NULLIF(@@SESSION.sql_mode, ''), 'STRICT_TRANS_TABLES')"
# Writers wait for each other rather than fail (with a time-out of 0.05 s, four writers at once see "database is
# locked"), and no reader waits for a writer (WAL). SQLite checks foreign keys only where it's told to. NORMAL: a power
# cut may take the last transactions with it, but damages nothing.
SQLITE_PRAGMAS = ("busy_timeout=30000", "foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL")


# What SQLAlchemy reads of a server's URL, less what can only be a part of an unescaped user or password: no host has a
# #, no database's name an @. It would be shown, and the server that isn't there taken for one that is away.
SERVER_URL = re.compile(
    r"""[\w+]+://
    ([^:/]*(:[^@]*)?@)?          # user and password
    (\[[\w:.%]+\]|[\w.-]*)(:\d*)?
    (/[^@:/?\#]*)?               # database
    (\?[^@]*)?""",
    re.VERBOSE,
)


_IS_PASSWORD = re.compile("pass|pwd|secret", re.IGNORECASE)  # as drivers call them: password, passwd, ssl_key_password


def open_engine(url: str | URL, named: str = "PLAZA_ISPYB_URL") -> Engine:
    """Make an engine with time-outs, liveness check and, for SQLite, the pragmas and real transactions.

    What is no time in the database, such as MySQL's zero dates, is read as None. A file of SQLite's that isn't there
    isn't made (`sqlite_file`).

    Parameters
    ----------
    url
        The database.
    named
        Where the URL stands, for errors, which don't show it.

    Raises
    ------
    ConfigurationError
        The URL can't be read or its driver isn't there.
    """
    if isinstance(url, str) and _is_misread(url):
        raise _unreadable(named)
    try:
        target = _with_driver(make_url(url))
        # pre_ping asks before each use: otherwise the first statement after a server's restart fails.
        engine = create_engine(
            target, pool_pre_ping=True, pool_recycle=POOL_RECYCLE_S, connect_args=_driver_options(target)
        )
    except (ArgumentError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"ISPyB's URL can't be used ({error}); expected sqlite:///path or "
            f"mysql+pymysql://user:password@host/ispyb; see {named}"
        ) from None  # the cause may show the URL with its password
    except ValueError:  # of a port; the message would show a part of the URL, maybe of an unescaped password
        raise _unreadable(named) from None
    if engine.dialect.name == "sqlite":
        read_sqlite_leniently(engine.dialect)
        event.listen(engine, "do_connect", connect_to_file)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_to_server)
    return engine


@contextmanager
def transaction(engine: Engine, *, read_only: bool = False) -> Iterator[Connection]:
    """Give a connection in one transaction, and say clearly what a database fault means.

    Parameters
    ----------
    engine
        ISPyB.
    read_only
        Nothing will be written, so on SQLite no writer has to be waited for.

    Raises
    ------
    DatabaseUnavailable
        A fault that can pass: the whole transaction may be tried again.
    ConfigurationError
        The credentials are refused, or the tables or SQLite's file aren't there.
    """
    try:
        # The option is read by `_begin_sqlite`; other databases begin in the same way for both.
        with engine.connect().execution_options(read_only=read_only) as connection, connection.begin() as running:
            yield connection
            if read_only:
                running.rollback()
    except DBAPIError as error:
        raise explain(safe_url(engine), error) from error
    except PoolTimeout as error:
        raise DatabaseUnavailable(
            f"all connections to ISPyB at {safe_url(engine)} are in use by this process: {error}"
        ) from error


def retry_transaction(engine: Engine, work: Callable[[Connection], Result], patience_s: float = 30.0) -> Result:
    """Do some work in a transaction, and again from the start while faults last that can pass.

    Raises
    ------
    DatabaseUnavailable
        The fault outlasted `patience_s` seconds.
    """

    def once() -> Result:
        with transaction(engine) as connection:
            return work(connection)

    return retry_blocking(once, DatabaseUnavailable, PAUSES, patience_s=patience_s)


def safe_url(engine: Engine) -> str:
    """Return the database's URL for logs and errors, its passwords hidden."""
    url = engine.url
    hidden = dict.fromkeys(filter(_IS_PASSWORD.search, url.query), "...")
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def has_password(url: str) -> bool:
    """Tell whether a database's URL holds a password, or may: it needn't be well-formed."""
    scheme, _, rest = url.partition("://")
    _, _, query = rest.partition("?")
    return not scheme.startswith("sqlite") and bool(re.search(":.*@", rest) or _IS_PASSWORD.search(query))


def _connect_to_server(dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect; what a driver can't make sense of is an error in the URL, and not to be shown as it is."""
    try:
        return dialect.connect(*arguments, **options)
    except dialect.loaded_dbapi.Error:  # the driver's own: `transaction` knows what they mean
        raise
    except (TypeError, OSError) as error:  # an option that it doesn't have; a file that isn't there
        reason = f"{type(error).__name__}: {error}"
    except (AttributeError, LookupError, ValueError) as error:  # may tell of characters of the password
        reason = type(error).__name__
    raise ConfigurationError(
        f"the database driver {dialect.driver} can't use the user, password or options of ISPyB's URL ({reason})"
    )


def _is_misread(url: str) -> bool:
    """Tell whether SQLAlchemy would take a part of the user or the password for something else."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and not scheme.startswith("sqlite") and SERVER_URL.fullmatch(url) is None


def _unreadable(named: str) -> ConfigurationError:
    return ConfigurationError(
        "ISPyB's URL can't be read; expected sqlite:///path or mysql+pymysql://user:password@host:port/ispyb: in user "
        "and password write @ as %40, / as %2F, # as %23, ? as %3F, : as %3A and % as %25; "
        f"see {named}"
    )


def _with_driver(url: URL) -> URL:
    """Choose PyMySQL, the only driver whose lost connections SQLAlchemy recognises, unless another one is named."""
    return url.set(drivername="mysql+pymysql") if url.drivername in {"mysql", "mariadb"} else url


def _driver_options(url: URL) -> dict[str, Any]:
    # Other drivers have other names for these, or none.
    if url.get_driver_name() != "pymysql":
        return {}
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": ANSWER_TIMEOUT_S,
        "write_timeout": ANSWER_TIMEOUT_S,
        "init_command": STRICT,
        "conv": pymysql_conversions(),
    }


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = (
        None  # we send BEGIN ourselves: sqlite3 would leave SELECTs and DDL outside the transaction
    )
    connection.text_factory = read_any_text
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads and then writes fails at once if another writer came between; IMMEDIATE waits its turn.
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
