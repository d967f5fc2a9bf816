"""Times within statements, where a server's zero dates count as none.

What is read comes without zero dates (`blocks.ispyb_times`). In a condition `0000-00-00 00:00:00` isn't NULL but
earlier than all other times, and a strict server refuses to write it again.
"""

from typing import Any

from sqlalchemy import Case, Column, ColumnElement, Connection, and_, case, func


def real_time(connection: Connection, column: Column[Any]) -> Case[Any]:
    """Return a column of times as an expression that is NULL where a year, month or day is zero."""
    is_real: ColumnElement[bool] = func.datetime(column).is_not(None)  # SQLite's own, which reads no such text
    if connection.dialect.name != "sqlite":
        is_real = and_(*(part(column) > 0 for part in (func.year, func.month, func.dayofmonth)))
    return case((is_real, column))
