"""Rows of ISPyB: written so that they fit on any database, and that a fault names the column.

Each function works within the caller's transaction.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.expression import Executable

from blocks.errors import MessageRefused
from tasks.ispyb_access.character_sets import character_set_of, first_unknown, replace_unencodable
from tasks.ispyb_access.writing.grants.looking import looking, may_look
from tasks.ispyb_access.writing.rows.columns import fit
from tasks.ispyb_access.writing.rows.leniency import is_ornament

logger = logging.getLogger(__name__)

Values = Mapping[str, Any]

STAMPS = ("recordTimeStamp", "bltimeStamp", "createTime")  # SQLite's clock for these would be that of Greenwich


def fit_row(table: Table, values: Values) -> dict[str, Any]:
    """Make values fit their columns (see `columns.fit`).

    Raises
    ------
    MessageRefused
        A value can't be made to fit; the column is named.
    """
    fitted = {}
    for name, value in values.items():
        try:
            fitted[name] = fit(table.c[name], value)
        except ValueError as error:
            raise MessageRefused(f"{table.name}.{name}: {error}") from None
    return fitted


def prepare_row(connection: Connection, table: Table, values: Values) -> dict[str, Any]:
    """Make values fit their columns, in this database's character sets; prepared again, they stay as they are.

    Raises
    ------
    MessageRefused
        As `fit_row` does, or a strict column can't hold a character.
    """
    return {
        name: value if not isinstance(value, str) or value.isascii() else _encodable(connection, table.c[name], value)
        for name, value in fit_row(table, values).items()
    }


def _encodable(connection: Connection, column: Column[Any], value: str) -> Any:
    """Return a text whose characters a column can hold: others are replaced in texts for people."""
    character_set = character_set_of(connection, column)
    unknown = first_unknown(value, character_set)
    if unknown is None:
        return value
    if not is_ornament(column):
        raise MessageRefused(
            f"{column}: expected characters of {character_set}, which that column holds, seen {unknown!r}"
        )
    replaced = replace_unencodable(value, character_set)
    logger.warning("%s holds characters of %s only: %.80r is written as %.80r", column, character_set, value, replaced)
    return fit(column, replaced)


def insert_row(connection: Connection, table: Table, values: Values) -> int:
    """Insert a row and return its number. Columns for which no value is given get their defaults.

    Raises
    ------
    MessageRefused
        A value doesn't fit, or ISPyB has no row of a number that the row refers to.
    """
    row = _given(prepare_row(connection, table, _stamped(table, _given(values))))
    result = _execute(connection, table, [row], insert(table).values(row))
    (key,) = result.inserted_primary_key or (None,)
    assert key is not None, f"{table.name} numbers its rows"
    return int(key)


def insert_rows(connection: Connection, table: Table, rows: Iterable[Values]) -> None:
    """Insert rows of the same columns, whose numbers nobody needs. Raises as `insert_row` does."""
    prepared = [prepare_row(connection, table, _stamped(table, row)) for row in rows]
    if prepared:
        _execute(connection, table, prepared, insert(table), prepared)


def insert_once(connection: Connection, table: Table, identity: Values, more: Values | None = None) -> int:
    """Insert a row unless there is one of the same identity; return its number. Raises as `insert_row` does."""
    row = prepare_row(connection, table, identity)
    present = find_row(connection, table, row)
    return insert_row(connection, table, {**row, **(more or {})}) if present is None else present


def find_row(connection: Connection, table: Table, identity: Values) -> int | None:
    """Return the number of the first row of an identity; None if there is none. Raises as `prepare_row` does."""
    return next(find_rows(connection, table, identity), None)


def find_rows(connection: Connection, table: Table, identity: Values) -> Iterator[int]:
    """Yield the numbers of all rows of an identity, in their order. Raises as `prepare_row` does.

    Texts are the same to the letter: to a server's collations `x.log` is `X.log` too, and `x.log` with a blank behind
    it, but on a disk these are three files.
    """
    (key,) = table.primary_key.columns
    # As it would be written: a server can't look for what a column can't hold.
    row = prepare_row(connection, table, identity)
    same = [table.c[name].is_not_distinct_from(value) for name, value in row.items()]
    texts = {name: value for name, value in row.items() if isinstance(value, str)}
    alike = select(key, *(table.c[name] for name in texts)).where(*same).order_by(key)
    with looking(connection, table) as reading:
        found = reading.execute(alike).all()
    wanted = tuple(texts.values())
    yield from (number for number, *written in found if tuple(written) == wanted)


def update_row(connection: Connection, table: Table, number: int, values: Values) -> int:
    """Change what is given of a row and return its number: None never erases what is there, as in ISPyB's procedures.

    Raises
    ------
    MessageRefused
        There is no such row, or as `insert_row` does.
    """
    require_row(connection, table, number)
    given = _given(prepare_row(connection, table, _given(values)))
    (key,) = table.primary_key.columns
    if given:
        _execute(connection, table, [given], update(table).where(key == number).values(given))
    return number


def upsert_row(connection: Connection, table: Table, number: int | None, values: Values) -> int:
    """Insert a row, or change what is given of the row of a number; return its number.

    Raises
    ------
    MessageRefused
        As `insert_row` and `update_row` do.
    """
    if number is None:
        return insert_row(connection, table, values)
    return update_row(connection, table, number, values)


def require_row(connection: Connection, table: Table, number: int) -> None:
    """Check that there is a row of this number.

    Raises
    ------
    MessageRefused
        There is none.
    """
    (key,) = table.primary_key.columns
    if connection.scalar(select(key).where(key == number)) is None:
        raise MessageRefused(f"ISPyB has no {table.name} {number}")


def _given(values: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _stamped(table: Table, values: Values) -> dict[str, Any]:
    """Leave the time of writing to the row's own value if it has one, else to our clock."""
    stamps = {name: datetime.now() for name in STAMPS if name in table.c and values.get(name) is None}
    return {**values, **stamps}


def _execute(
    connection: Connection, table: Table, rows: list[dict[str, Any]], statement: Executable, *more: Any
) -> Any:
    try:
        return connection.execute(statement, *more)
    except IntegrityError as error:
        if missing := _missing_parent(connection, table, rows):
            raise MessageRefused(missing) from error
        raise


def _missing_parent(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> str | None:
    """Look which number refers to no row: SQLite doesn't say. Tables that aren't for us are passed over."""
    for reference in table.foreign_keys:
        for number in sorted(
            {row[reference.parent.name] for row in rows if row.get(reference.parent.name) is not None}
        ):
            if not _is_there(connection, reference.column, number):
                return f"ISPyB has no {reference.column.table.name} {number}, which {reference.parent} names"
    return None


def _is_there(connection: Connection, column: Column[Any], number: int) -> bool:
    """Tell whether a table has a row of a number; if nobody may look, it's taken to be there."""
    if not may_look(connection, column.table):
        return True
    with looking(connection, column.table) as reading:
        return reading.scalar(select(column).where(column == number)) is not None
