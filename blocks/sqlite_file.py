"""SQLite's file: it's made when that is asked for, not by looking for it.

SQLite by itself makes an empty one where there is none, which then looks like an ISPyB that has lost its tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from blocks.errors import ConfigurationError
from blocks.home_folder import make_folder

MODE: Final = "mode=rw"
READ_ONLY: Final = frozenset({"mode=ro", "immutable=1"})


class MissingDatabase(ConfigurationError):
    """There is no file of this name."""


def connect_to_file(
    dialect: Dialect, _record: object, arguments: Sequence[Any], options: Mapping[str, Any]
) -> DBAPIConnection | None:
    """Connect to a file that is there; None: SQLAlchemy may do it. For its event `do_connect`.

    Raises
    ------
    MissingDatabase
        It isn't there.
    """
    (name,) = arguments
    is_uri = bool(options.get("uri"))
    file = _file(name, is_uri=is_uri)
    if file is None:
        return None
    if _is_missing(file):
        raise MissingDatabase(
            f"there is no ISPyB at sqlite:///{file}: make it with `plaza ispyb create`, or name another one with "
            "--ispyb or PLAZA_ISPYB_URL"
        )
    # Without this mode SQLite would make a file that goes between the look and the opening.
    uri = _in_mode(name) if is_uri else f"{file.absolute().as_uri()}?{MODE}"
    return dialect.connect(uri, **{**options, "uri": True})


def make_file(engine: Engine) -> None:
    """Make an empty file, and its folder, where an SQLite database is to be; one that is there stays as it is.

    Raises
    ------
    ConfigurationError
        The URL is for reading only, or there can't be such a file.
    """
    (name,), options = engine.dialect.create_connect_args(engine.url)
    is_uri = bool(options.get("uri"))
    file = _file(name, is_uri=is_uri)
    if file is None:
        return
    if is_uri and (for_reading := _options(name) & READ_ONLY):
        raise ConfigurationError(f"{engine.url} is for reading only ({', '.join(for_reading)}): nothing is made there")
    try:
        make_folder(file.parent)
        file.touch()
    except OSError as error:
        raise ConfigurationError(f"there can't be an ISPyB at {engine.url}: {error}") from error


def _file(name: str, *, is_uri: bool) -> Path | None:
    """Return the file that a database is in; None for one in memory, or in a temporary file of SQLite's own."""
    if is_uri and name.startswith("file:"):
        if "mode=memory" in _options(name):
            return None
        name = unquote(urlsplit(name).path)
    return None if name in {"", ":memory:"} else Path(name)


def _options(uri: str) -> set[str]:
    return set(urlsplit(uri).query.split("&"))


def _is_missing(file: Path) -> bool:
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # of a folder that is closed to us, a file system that is away: SQLite says so
        return False
    return False


def _in_mode(uri: str) -> str:
    if any(option.startswith("mode=") for option in _options(uri)):
        return uri
    return f"{uri}{'&' if urlsplit(uri).query else '?'}{MODE}"
