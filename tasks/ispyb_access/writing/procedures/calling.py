"""One connection to ISPyB's stored procedures, through the package ispyb's own API.

That API comes with mysql-connector-python, whose faults are told apart as those of the SQL writer's driver are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeVar

import mysql.connector
from ispyb import ConnectionError as NoConnection
from ispyb import ISPyBException, NoResult
from ispyb.connector.mysqlsp.main import ISPyBMySQLSPConnector
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from blocks.errors import MessageRefused, causes_of
from blocks.ispyb_connection import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, STRICT
from blocks.ispyb_faults import is_transient
from tasks.ispyb_access.character_sets import first_unknown, replace_unencodable
from tasks.ispyb_access.writing.rows.command_parameters import squash
from tasks.ispyb_access.writing.rows.leniency import is_ornament_parameter

logger = logging.getLogger(__name__)
logging.getLogger("mysql.connector").setLevel(logging.WARNING)  # it tells of its plug-ins with each connection

Answer = TypeVar("Answer")

MYSQL_PORT: Final = 3306
SHARED_OPTIONS: Final = ("unix_socket", "ssl_ca", "ssl_cert", "ssl_key")  # PyMySQL and mysql-connector have both

PARAMETER: Final = (
    "SELECT PARAMETER_NAME, CHARACTER_MAXIMUM_LENGTH FROM information_schema.PARAMETERS "
    "WHERE SPECIFIC_SCHEMA = DATABASE() AND SPECIFIC_NAME = %s AND ORDINAL_POSITION = %s"
)
NARROWEST: Final = (
    "SELECT CHARACTER_SET_NAME FROM information_schema.COLUMNS "
    "WHERE TABLE_SCHEMA = DATABASE() AND CHARACTER_SET_NAME IN ('latin1', 'utf8', 'utf8mb3') "
    "ORDER BY CHARACTER_SET_NAME LIMIT 1"
)


class Procedures:
    """ISPyB's procedures. Safe to use from several threads, one of which is served at a time.

    Parameters
    ----------
    url
        The database, for any MySQL driver.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connector: Connector | None = None

    def call(self, work: Callable[[Connector], Answer]) -> Answer:
        """Call some procedures, on a new connection if the last one was lost.

        Raises
        ------
        DBAPIError
            A procedure failed, or the connection did; its cause is the driver's error.
        """
        with self._lock:
            try:
                self._connector = self._connector or Connector(self._url)
                return work(self._connector)
            # Both: where a connection is lost in a call, the driver's error comes through the API as it is.
            except (ISPyBException, mysql.connector.Error) as error:
                fault = _as_fault(error)
                if is_transient(fault):
                    self._disconnect()
                raise fault from error

    def close(self) -> None:
        """Close the connection; the next call would open another."""
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.disconnect()


class Connector(ISPyBMySQLSPConnector):  # type: ignore[misc]  # ispyb has no types
    """ispyb's connector with time-outs, and without its own tries to connect again: whoever calls us does that."""

    def __init__(self, url: URL) -> None:
        # not super().__init__: that connects without time-outs, and a frozen server would hang us for good
        self.lock = threading.Lock()
        # The API pings before each call, and would try six times, a second apart, while others wait for the lock.
        self.reconn_attempts, self.reconn_delay = 1, 0
        self.conn: Any = mysql.connector.connect(
            user=url.username,
            password=url.password,
            host=url.host or "localhost",
            port=url.port or MYSQL_PORT,
            database=url.database,
            use_pure=True,  # as ispyb's own connector
            autocommit=True,  # likewise: several procedures commit by themselves anyway
            init_command=STRICT,  # else the procedures' parameters cut what is too long without a word
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=ANSWER_TIMEOUT_S,
            write_timeout=ANSWER_TIMEOUT_S,
            **{name: url.query[name] for name in SHARED_OPTIONS if name in url.query},
        )
        self._character_set = self._ask_character_set()

    def disconnect(self) -> None:
        """Close the connection, which may be lost."""
        connection, self.conn = getattr(self, "conn", None), None
        if connection is not None:
            connection.shutdown()  # close() would wait for a server that doesn't answer

    def call_sp_write(self, procname: str, args: Sequence[Any]) -> Any:
        """Call a procedure. Characters that its parameters can't hold are replaced in texts for people.

        Raises
        ------
        MessageRefused
            Another text has such characters: procedures that aren't strict would write `?`.
        """
        fitting = [
            self._encodable(procname, place, value) if isinstance(value, str) and not value.isascii() else value
            for place, value in enumerate(args, 1)
        ]
        return super().call_sp_write(procname, fitting)

    def require_known(self, procname: str, args: Sequence[Any]) -> None:
        """Check the characters of what a later call will write, before an earlier one writes something.

        Raises
        ------
        MessageRefused
            As `call_sp_write` does.
        """
        for place, value in enumerate(args, 1):
            if isinstance(value, str) and first_unknown(value, self._character_set) is not None:
                self._encodable(procname, place, value)

    def _encodable(self, procedure: str, place: int, value: str) -> str:
        unknown = first_unknown(value, self._character_set)
        if unknown is None:
            return value
        name, length = self._parameter(procedure, place)
        if not is_ornament_parameter(name):
            raise MessageRefused(
                f"{procedure}: expected characters of {self._character_set}, the database's, seen {unknown!r} in "
                f"{value:.80}"
            )
        replaced = replace_unencodable(value, self._character_set)[:length]
        logger.warning(
            "%s of procedure %s holds characters of %s only: %.80r is written as %.80r",
            *(name, procedure, self._character_set, value, replaced),
        )
        return replaced

    def select_row(self, statement: str, *parameters: object) -> tuple[Any, ...] | None:
        """Return the row that an SQL statement selects; None if there is none."""
        cursor = self.create_cursor()
        try:
            cursor.execute(statement, parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
        finally:
            cursor.close()
        return row

    def _parameter(self, procedure: str, place: int) -> tuple[str, int | None]:
        """Return the name of a procedure's parameter and how many characters it holds; "" if we may not see it."""
        name, length = self.select_row(PARAMETER, procedure, place) or ("", None)
        return name, length

    def _ask_character_set(self) -> str:
        """Return the character set that the procedures' texts have to be of: their parameters' or the tables'.

        Where a server's default is wider than the tables, parameters take what columns can't hold, and the procedures,
        which aren't strict, write `?` for it.
        """
        (of_database,) = self.select_row("SELECT @@character_set_database") or ("",)
        (of_tables,) = self.select_row(NARROWEST) or (None,)  # those that we may see
        return str(of_tables or of_database)


Procedure = Callable[[Connector, Any], Any]
"""Carries out a command, with its parameters, by one or more of ISPyB's procedures; returns its value."""


def filled(template: MutableMapping[str, Any], values: Mapping[str, Any], **more: Any) -> list[Any]:
    """Return a procedure's parameters with values where there are any; names that it doesn't have are left out.

    Parameters
    ----------
    template
        The parameters in their order, with their defaults: the API's StrictOrderedDict.
    values
        By name, spelt in any way.
    more
        The same; they count before `values`.
    """
    for name, value in {**values, **more}.items():
        if value is not None and squash(name) in template:
            template[name] = value
    return list(template.values())


def rows(retrieve: Callable[..., list[dict[str, Any]]], *arguments: Any) -> list[dict[str, Any]]:
    """Return what a procedure finds; the API makes an error of nothing."""
    try:
        return retrieve(*arguments)
    except NoResult:
        return []


def _as_fault(error: Exception) -> DBAPIError:
    """Return what the API's error was made of, as SQLAlchemy would: then it's read in the same way."""
    cause = next((each for each in causes_of(error) if isinstance(each, mysql.connector.Error)), None)
    return DBAPIError(None, None, cause or error, connection_invalidated=isinstance(error, NoConnection) and not cause)
