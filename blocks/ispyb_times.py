"""Times as ISPyB's databases hand them over: what is no time, such as MySQL's zero dates, is None.

A server that isn't strict writes `0000-00-00 00:00:00` for a time that it can't read, and `2026-00-00` for a date whose
month nobody knows; PyMySQL hands these over as text. SQLite holds any text, of which SQLAlchemy would make an error.
mysql-connector gives None for them by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import TIMESTAMP, Date, DateTime, Dialect, Time
from sqlalchemy.types import TypeEngine


def pymysql_conversions() -> dict[Any, Callable[..., Any]]:
    """Return PyMySQL's conversions, but for texts that are no times."""
    from pymysql.constants import FIELD_TYPE  # which sites on SQLite don't need
    from pymysql.converters import conversions

    times = (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIME, FIELD_TYPE.TIMESTAMP)
    return {**conversions, **{kind: _none_for_text(conversions[kind]) for kind in times}}


def read_sqlite_leniently(dialect: Dialect) -> None:
    """Have a dialect of SQLite read texts that are no times as None."""
    times: tuple[type[TypeEngine[Any]], ...] = (Date, DateTime, Time, TIMESTAMP)
    lenient = {kind: _lenient(dialect.colspecs[kind]) for kind in times}
    dialect.colspecs = {**dialect.colspecs, **lenient}


def _none_for_text(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(text: Any) -> Any:
        value = convert(text)
        return None if isinstance(value, str) else value

    return read


def _lenient(own: type[TypeEngine[Any]]) -> type[TypeEngine[Any]]:
    return type(f"Lenient{own.__name__}", (_Lenient, own), {})


class _Lenient:
    """Reads what isn't of its type as None."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        read = super().result_processor(dialect, coltype)  # type: ignore[misc]  # that of the type it's mixed into

        def read_leniently(value: Any) -> Any:
            try:
                return read(value)
            except (TypeError, ValueError):
                return None

        return read_leniently
