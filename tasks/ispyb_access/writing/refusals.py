"""Say what is held against the values that a command would write: the command, its ids, the column and the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from blocks.errors import ConfigurationError, MessageRefused, causes_of
from blocks.ispyb_faults import explain

# MariaDB's and SQLite's ways to name a column, which may stand behind database and table
COLUMN: Final = (
    re.compile(r"(?:column|Column|Field) [`']?(?:`?\w+`?\.)*`?(\w+)[`']?"),
    re.compile(r"FOREIGN KEY \(`(\w+)`\)"),
    re.compile(r"(?:NOT NULL|UNIQUE) constraint failed: \w+\.(\w+)"),
)
IDENTITY: Final = re.compile(r"(^|_)(dcid|dcgid|rpid|id)$|^file[_-](pattern[_-]index|number)$", re.IGNORECASE)


@contextmanager
def named(command: str, parameters: BaseModel, where: str) -> Iterator[None]:
    """Have a fault that can't pass name the command and the ids that it was given.

    Parameters
    ----------
    command
        Its name.
    where
        The database, without its password.

    Raises
    ------
    MessageRefused
        The command refuses its parameters, or the database what the command would write.
    ConfigurationError
        The credentials, grants or tables don't do.
    """
    what = command + ids_of(parameters)
    try:
        yield
    except MessageRefused as error:
        raise MessageRefused(f"{what}: {error}{_notes(error)}") from error
    except DBAPIError as error:
        meaning = explain(where, error)
        if isinstance(meaning, ConfigurationError):
            raise ConfigurationError(f"{what}: {meaning}{_notes(error)}") from error
        if meaning is not error:
            raise
        column = column_at_fault(error)
        value = f"a value for column {column}" if column else "what it would write"
        raise MessageRefused(
            f"{what}: ISPyB refuses {value}: {error.orig}; check the ids and values in the message" + _notes(error)
        ) from error


def _notes(error: BaseException) -> str:
    """Return what was noted of a fault where it came up, such as what stays written all the same."""
    return "".join(f"; {note}" for cause in causes_of(error) for note in getattr(cause, "__notes__", ()))


def column_at_fault(error: DBAPIError) -> str | None:
    """Return the column that the database names; None if it names none."""
    cause = str(error.orig)
    return next((found[1] for pattern in COLUMN if (found := pattern.search(cause))), None)


def ids_of(parameters: Iterable[tuple[str, Any]]) -> str:
    """Return what parameters say of which rows they're about, in brackets; nothing if they say nothing."""
    ids = [f"{key} {value!s:.60}" for key, value in parameters if IDENTITY.search(key) and value not in (None, ())]
    return f" ({', '.join(ids)})" if ids else ""
