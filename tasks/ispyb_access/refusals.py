"""Say what is held against the values that a command would write: the command, its ids, the column and the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from blocks.errors import MessageRefused
from blocks.ispyb_faults import is_of_values

# MariaDB's and SQLite's ways to name a column, which may stand behind database and table
COLUMN: Final = (
    re.compile(r"(?:column|Column|Field) [`']?(?:`?\w+`?\.)*`?(\w+)[`']?"),
    re.compile(r"FOREIGN KEY \(`(\w+)`\)"),
    re.compile(r"(?:NOT NULL|UNIQUE) constraint failed: \w+\.(\w+)"),
)
IDENTITY: Final = re.compile(r"(^|_)(dcid|dcgid|rpid|id)$|^file_(pattern_index|number)$", re.IGNORECASE)


@contextmanager
def named(command: str, parameters: BaseModel) -> Iterator[None]:
    """Have a refusal name the command and the ids that it was given.

    Raises
    ------
    MessageRefused
        The command refuses its parameters, or the database what the command would write.
    """
    try:
        yield
    except MessageRefused as error:
        raise MessageRefused(f"{command}{_ids(parameters)}: {error}") from error
    except DBAPIError as error:
        if not is_of_values(error):
            raise
        column = column_at_fault(error)
        what = f"a value for column {column}" if column else "what it would write"
        raise MessageRefused(
            f"{command}{_ids(parameters)}: ISPyB refuses {what}: {error.orig}; check the ids and values in the message"
        ) from error


def column_at_fault(error: DBAPIError) -> str | None:
    """Return the column that the database names; None if it names none."""
    cause = str(error.orig)
    return next((found[1] for pattern in COLUMN if (found := pattern.search(cause))), None)


def _ids(parameters: BaseModel) -> str:
    ids = [f"{key} {value}" for key, value in parameters if IDENTITY.search(key) and value is not None]
    return f" ({', '.join(ids)})" if ids else ""
