"""What ISPyB's columns can hold, alike on all databases.

MariaDB cuts, clips and folds without a word, or refuses, as its `sql_mode` says; SQLite takes everything, and then
may fail to read the row. So nothing is left to the database.
"""

import logging
import math
import re
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Double, Enum, Float, Integer, String

from tasks.ispyb_access.writing.rows.leniency import is_figure, is_ornament

logger = logging.getLogger(__name__)

UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NULs and lone surrogates
REPLACEMENTS = {0: None} | dict.fromkeys(range(0xD800, 0xE000), "?")  # of these, for `str.translate`
WHOLE = re.compile(r"path|directory|filename|^view\d|template", re.IGNORECASE)  # a path that is cut leads nowhere
LARGEST_FLOAT = 3.4028234e38  # of a FLOAT, which has single precision on a server
LARGEST_INTEGER = 2**31 - 1  # that of the id columns, which are unsigned in some schemas and signed in others
LARGEST_INTEGERS = {"TINYINT": 2**7 - 1, "SMALLINT": 2**15 - 1, "MEDIUMINT": 2**23 - 1}
TEXT_BYTES = {"Text": 2**16 - 1, "MEDIUMTEXT": 2**24 - 1}


def fit(column: Column[Any], value: Any) -> Any:
    """Make a value fit its column.

    Text is cut to the column's length, with a warning, but for paths. Enumerations get the case that the schema has.
    Times lose their fractions of a second. In columns that give way (see `leniency`) numbers that aren't finite become
    NULL, and texts lose their NULs, with a warning.

    Raises
    ------
    ValueError
        It can't be made to fit.
    """
    if isinstance(value, str):
        return _fit_text(column, value)
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    if isinstance(value, int | float):
        return _fit_number(column, value)
    return value


def storable(where: str, text: str) -> str:
    """Return a text without what no database stores, with a warning if it has any of that."""
    if not UNSTORABLE.search(text):
        return text
    logger.warning("%s is written without its NULs, and with ? for lone surrogates: %.60r", where, text)
    return text.translate(REPLACEMENTS)


def tell_of_no_number(column: Column[Any], value: Any) -> None:
    """Warn of a figure that is no number, for which NULL is written."""
    logger.warning("%s: %s is no number that can be written; it is left out", column, value)


def _fit_number(column: Column[Any], value: float) -> float | None:
    kind = column.type
    if isinstance(value, float) and not math.isfinite(value):
        if is_figure(column):
            tell_of_no_number(column, value)
            return None
        raise ValueError(f"expected a finite number, seen {value}")
    if isinstance(kind, Integer):
        largest = LARGEST_INTEGERS.get(type(kind).__name__, LARGEST_INTEGER)
        if abs(value) > largest:
            raise ValueError(f"expected a number up to {largest}, seen {value}")
        return int(value)
    if isinstance(kind, Float) and not isinstance(kind, Double) and abs(value) > LARGEST_FLOAT:
        raise ValueError(f"expected a number up to {LARGEST_FLOAT:.1e}, seen {value}")
    return value


def _fit_text(column: Column[Any], value: str) -> str:
    kind = column.type
    if isinstance(kind, Enum):
        return _known(kind, value)
    if UNSTORABLE.search(value):
        if not is_ornament(column):
            raise ValueError(f"expected text without NULs and lone surrogates, seen {value!r:.60}")
        value = storable(str(column), value)
    # A server counts the bytes of a TEXT, and the characters of a VARCHAR.
    fitting = _begin(value, TEXT_BYTES[type(kind).__name__]) if type(kind).__name__ in TEXT_BYTES else value
    if isinstance(kind, String) and kind.length:
        fitting = value[: kind.length]
    if fitting != value:
        if WHOLE.search(column.name):
            raise ValueError(f"expected at most {len(fitting)} characters, seen {len(value)}: {value!r:.60}…")
        logger.warning("%s is cut to %d of its %d characters: %.60r…", column, len(fitting), len(value), value)
    return fitting


def _known(kind: Enum, value: str) -> str:
    # MariaDB folds the case of an ENUM; SQLite would keep ours, and SQLAlchemy couldn't read the row again.
    for known in kind.enums:
        if known.lower() == value.lower():
            return str(known)
    raise ValueError(f"expected one of {', '.join(kind.enums)}; seen {value!r:.60}")


def _begin(value: str, size: int) -> str:
    """Return as much of a text's beginning as has no more than `size` bytes."""
    encoded = value.encode()
    return value if len(encoded) <= size else encoded[:size].decode(errors="ignore")
