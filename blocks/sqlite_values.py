"""What SQLite's columns hold: any value in any of them, whatever type the schema says, and texts that aren't UTF-8.

What isn't of its column's type is read as None, as what a server couldn't have stored; where that were an error, nobody
could read the row at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import TIMESTAMP, Date, DateTime, Dialect, Enum, Float, Integer, Numeric, String, Time
from sqlalchemy.types import TypeEngine

Reader = Callable[[Any], Any]

LARGEST_INTEGER = 2**63 - 1


def read_sqlite_leniently(dialect: Dialect) -> None:
    """Have a dialect of SQLite read values that aren't of their columns' types as None."""
    times: tuple[type[TypeEngine[Any]], ...] = (Date, DateTime, Time, TIMESTAMP)
    lenient = {kind: _lenient(dialect.colspecs[kind], _unchanged) for kind in times}
    others: dict[type[TypeEngine[Any]], Reader] = {
        Integer: _integer,
        Float: _number,
        Numeric: _number,
        String: _text,
    }
    lenient |= {kind: _lenient(dialect.colspecs.get(kind, kind), check) for kind, check in others.items()}
    dialect.colspecs = {**dialect.colspecs, **lenient, Enum: Enum}  # which would be read as any text otherwise


def read_any_text(text: bytes) -> str:
    """Read SQLite's text, of which nobody has made sure that it's UTF-8; for sqlite3's `text_factory`."""
    return text.decode(errors="replace")


def _unchanged(value: Any) -> Any:
    return value


def _integer(value: Any) -> int | None:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and abs(value) <= LARGEST_INTEGER else None


def _number(value: Any) -> float | Decimal | None:
    return value if isinstance(value, int | float | Decimal) else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return read_any_text(value)
    return value if isinstance(value, str) else str(value)


def _lenient(own: type[TypeEngine[Any]], check: Reader) -> type[TypeEngine[Any]]:
    return type(f"Lenient{own.__name__}", (_Lenient, own), {"_check": staticmethod(check)})


class _Lenient:
    """Reads what isn't of its type as None."""

    _check: Reader

    def result_processor(self, dialect: Dialect, coltype: object) -> Reader:
        read = super().result_processor(dialect, coltype) or _unchanged  # type: ignore[misc]  # of what it's mixed into
        check = self._check

        def read_leniently(value: Any) -> Any:
            if value is None:
                return None
            try:
                return check(read(value))
            except (TypeError, ValueError, ArithmeticError):
                return None

        return read_leniently
