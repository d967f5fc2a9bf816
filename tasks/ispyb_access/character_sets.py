"""Which characters the text columns of a database can hold: those of ISPyB's public schema are latin1.

SQLite's hold all. A server that isn't strict would write `?` for the others, without a word; and it can't compare a
column with a text that the column can't hold ("Illegal mix of collations").
"""

import unicodedata
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Connection, Engine, text

NARROW = {"latin1": "cp1252", "ascii": "ascii"}  # MySQL's names and Python's
THREE_BYTES = {"utf8", "utf8mb3", "ucs2"}
LAST_OF_THREE_BYTES = "\uffff"
EVERY_CHARACTER = "utf8mb4"

QUERY = text(
    "SELECT LOWER(TABLE_NAME), LOWER(COLUMN_NAME), CHARACTER_SET_NAME FROM information_schema.COLUMNS "
    "WHERE TABLE_SCHEMA = DATABASE() AND CHARACTER_SET_NAME IS NOT NULL AND CHARACTER_SET_NAME <> 'utf8mb4'"
)

REPLACEMENT = "?"
# Of what crystallographers and their programs write, that which Unicode doesn't relate to simpler characters
ALIKE = {
    "\N{GREEK SMALL LETTER MU}": "\N{MICRO SIGN}",
    "\N{MINUS SIGN}": "-",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{ALMOST EQUAL TO}": "~",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{NOT EQUAL TO}": "!=",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{INFINITY}": "inf",
    "\N{PRIME}": "'",
    "\N{DOUBLE PRIME}": '"',
}

_known: WeakKeyDictionary[Engine, dict[tuple[str, str], str]] = WeakKeyDictionary()


def character_set_of(connection: Connection, column: Column[Any]) -> str:
    """Return MySQL's name of the character set of a text column; on SQLite that of all characters."""
    if connection.dialect.name == "sqlite":
        return EVERY_CHARACTER
    return _character_sets(connection).get((column.table.name.lower(), column.name.lower()), EVERY_CHARACTER)


def can_hold(connection: Connection, column: Column[Any], value: str) -> bool:
    """Tell whether a text column can hold a text: of one that it can't, no row has it, and none may be asked for."""
    return value.isascii() or first_unknown(value, character_set_of(connection, column)) is None


def first_unknown(value: str, character_set: str) -> str | None:
    """Return the first character that a character set of MySQL's doesn't have; None if it has all."""
    try:
        value.encode(NARROW.get(character_set, "utf-8"))
    except UnicodeEncodeError as error:  # of a lone surrogate in any of them
        return value[error.start]
    if character_set in THREE_BYTES:
        return next((character for character in value if character > LAST_OF_THREE_BYTES), None)
    return None


def replace_unencodable(value: str, character_set: str) -> str:
    """Write a text in the characters that a character set of MySQL's has, as readably as it can.

    Greek letters by their names, letters with accents without them, what looks much the same as something known as
    that, and all others as `?`.

    >>> replace_unencodable("I/σ(I) beyond 3.2 Å ≥ 1.5 🧊", "latin1")
    'I/sigma(I) beyond 3.2 Å >= 1.5 ?'
    """
    if first_unknown(value, character_set) is None:
        return value
    # Composed first: an "A" and a ring are one character of latin1, of which the ring alone isn't one.
    composed = unicodedata.normalize("NFC", value)
    return "".join(_replaced(character, character_set) for character in composed)


def _replaced(character: str, character_set: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    bare = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    for candidate in (character, ALIKE.get(character), plain, bare, _greek_name(bare)):
        if candidate and first_unknown(candidate, character_set) is None:
            return candidate
    return REPLACEMENT


def _greek_name(character: str) -> str | None:
    """Return the name of a Greek letter, its first letter in upper case if it's a capital; None for others."""
    kind, _, name = (unicodedata.name(character, "") if len(character) == 1 else "").partition(" LETTER ")
    letter = name.removeprefix("FINAL ")  # the sigma at a word's end
    return {"GREEK SMALL": letter.lower(), "GREEK CAPITAL": letter.capitalize()}.get(kind)


def _character_sets(connection: Connection) -> dict[tuple[str, str], str]:
    """Return the character sets of columns that don't hold every character; asked once for each engine."""
    if connection.engine not in _known:
        _known[connection.engine] = {(table, column): name for table, column, name in connection.execute(QUERY)}
    return _known[connection.engine]
