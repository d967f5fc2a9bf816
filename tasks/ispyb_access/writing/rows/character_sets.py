"""Which characters the text columns of a database can hold: ISPyB's are latin1 at some sites.

SQLite's hold all. A server that isn't strict would write `?` for the others, without a word.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, text

NARROW = {"latin1": "cp1252", "ascii": "ascii"}  # MySQL's names and Python's
THREE_BYTES = {"utf8", "utf8mb3"}
LAST_OF_THREE_BYTES = "\uffff"

QUERY = text(
    "SELECT LOWER(TABLE_NAME), LOWER(COLUMN_NAME), CHARACTER_SET_NAME FROM information_schema.COLUMNS "
    "WHERE TABLE_SCHEMA = DATABASE() AND CHARACTER_SET_NAME IS NOT NULL AND CHARACTER_SET_NAME <> 'utf8mb4'"
)

_known: WeakKeyDictionary[Engine, dict[tuple[str, str], str]] = WeakKeyDictionary()


def unencodable(connection: Connection, table: str, row: Mapping[str, Any]) -> str | None:
    """Say which value of a row has a character that its column can't hold; None if all can be held."""
    foreign = {name: value for name, value in row.items() if isinstance(value, str) and not value.isascii()}
    if not foreign or connection.dialect.name == "sqlite":
        return None
    known = _character_sets(connection)
    for name, value in foreign.items():
        character_set = known.get((table.lower(), name.lower()), "utf8mb4")
        if bad := first_unknown(value, character_set):
            return f"{table}.{name}: expected characters of {character_set}, which that column holds, seen {bad!r}"
    return None


def _character_sets(connection: Connection) -> dict[tuple[str, str], str]:
    """Return the character sets of columns that don't hold every character; asked once for each engine."""
    if connection.engine not in _known:
        _known[connection.engine] = {(table, column): name for table, column, name in connection.execute(QUERY)}
    return _known[connection.engine]


def first_unknown(value: str, character_set: str) -> str | None:
    """Return the first character that a character set of MySQL's doesn't have; None if it has all."""
    if character_set in THREE_BYTES:
        return next((character for character in value if character > LAST_OF_THREE_BYTES), None)
    try:
        value.encode(NARROW.get(character_set, "utf-8"))
    except UnicodeEncodeError as error:
        return value[error.start]
    return None
