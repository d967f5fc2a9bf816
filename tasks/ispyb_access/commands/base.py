"""What ISPyB's write commands have in common: parameter models, and rows that fit the columns of any database."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from sqlalchemy import Connection, Enum, String, Table, insert


def _local_time(value: datetime) -> datetime:
    return value.astimezone().replace(tzinfo=None) if value.tzinfo else value


LocalTime = Annotated[datetime, AfterValidator(_local_time)]  # ISPyB's times are local and don't say their zone


class CommandParameters(BaseModel):
    """Base of a command's parameters: unknown keys are ignored, since a message brings more than one command needs."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, values: Any) -> Any:
        """Take "", None and what a recipe's substitution makes of None as absent."""
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if value is not None and value not in ("", "None")}


class Announcement(NamedTuple):
    """What is to be told of what a command has done, beside its value."""

    output: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Command:
    """A write command.

    Parameters
    ----------
    parameters
        Model of what it reads from the message and the recipe.
    write
        Writes that within the caller's transaction, and returns a JSON value.
    is_repeatable
        Written twice is the same as written once, so the ledger needn't know of it.
    entry
        Returns what names the write in the ledger whichever message asks for it; None: each message has its own.
    announce
        Returns what to tell others, from the parameters and the value.
    """

    parameters: type[CommandParameters]
    write: Callable[[Connection, Any], Any]
    is_repeatable: bool = False
    entry: Callable[[Any], str | None] | None = None
    announce: Callable[[Any, Any], Announcement] | None = None


def fit_row(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Make values fit their columns, alike on all databases.

    Text is cut to the column's length and enumerations get the case that the schema has: MariaDB would do both
    silently, SQLite neither, and then fail to read the row. Numbers that aren't finite become NULL.
    """
    return {name: _fit(table.c[name].type, value) for name, value in values.items()}


def _fit(column_type: Any, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str):
        return value
    if isinstance(column_type, Enum):
        for known in column_type.enums:
            if known.lower() == value.lower():
                return known
        raise ValueError(f"{value!r} is none of {', '.join(column_type.enums)}")
    if isinstance(column_type, String) and column_type.length:
        return value[: column_type.length]
    return value


def insert_row(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Insert a row and return its number."""
    (key,) = connection.execute(insert(table).values(fit_row(table, values))).inserted_primary_key or (None,)
    assert key is not None, f"{table.name} numbers its rows"
    return int(key)
