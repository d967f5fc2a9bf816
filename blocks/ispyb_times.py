"""Times as ISPyB's databases hand them over: what is no time, such as MySQL's zero dates, is None.

A server that isn't strict writes `0000-00-00 00:00:00` for a time that it can't read, and `2026-00-00` for a date whose
month nobody knows; PyMySQL hands these over as text. What SQLite holds instead of times: `blocks.sqlite_values`.
mysql-connector gives None for them by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def pymysql_conversions() -> dict[Any, Callable[..., Any]]:
    """Return PyMySQL's conversions, but for texts that are no times."""
    from pymysql.constants import FIELD_TYPE  # which sites on SQLite don't need
    from pymysql.converters import conversions

    times = (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIME, FIELD_TYPE.TIMESTAMP)
    return {**conversions, **{kind: _none_for_text(conversions[kind]) for kind in times}}


def _none_for_text(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(text: Any) -> Any:
        value = convert(text)
        return None if isinstance(value, str) else value

    return read
