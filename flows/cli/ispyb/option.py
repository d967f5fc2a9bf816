"""The option `--ispyb FILE|URL` of commands that look into ISPyB."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from blocks.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine

IspybURL = Annotated[
    str | None,
    typer.Option(
        "--ispyb",
        metavar="FILE|URL",
        help="SQLAlchemy URL of ISPyB, or a file with it in its first line; unset: the ISPyB of the settings.",
    ),
]
_LONGEST_URL = 10_000


class Engines(NamedTuple):
    """ISPyB as the users that a site has there.

    Parameters
    ----------
    writing
        Of the user that writes.
    reading
        Of the user that reads; None if that is the same.
    """

    writing: Engine
    reading: Engine | None

    @property
    def reader(self) -> Engine:
        """The engine for reading."""
        return self.reading or self.writing

    def dispose(self) -> None:
        """Close all connections."""
        for engine in (self.writing, self.reading):
            if engine is not None:
                engine.dispose()


def find_ispyb(url: str | None) -> Engines:
    """Return the ISPyB of an option, or of the settings, or of the site that runs here: a block may hold its address.

    That of an option is for both, reading and writing.

    Raises
    ------
    ConfigurationError
        The URL or the file with it can't be read.
    DatabaseUnavailable
        The site's Prefect API, which may hold the address, doesn't answer.
    """
    from blocks.ispyb_connection import open_engine
    from blocks.settings import get_settings
    from blocks.site_ispyb import connect, connect_reader
    from flows.site.running_site import site_file, use_running_site

    if url:
        return Engines(open_engine(*_read(url)), None)
    settings = get_settings()
    if settings.ispyb_url is None and not os.environ.get("PREFECT_API_URL") and site_file(settings.home).exists():
        use_running_site(settings)
    return Engines(connect(settings, or_last_known=not os.environ.get("PREFECT_API_URL")), connect_reader(settings))


def _read(option: str) -> tuple[str, str]:
    """Return the URL that the option gives, and where it stands; warn if others could read a password in it."""
    from blocks.ispyb_connection import has_password

    if "://" in option:
        if has_password(option):
            typer.echo(
                "plaza: warning: for a moment all users of this machine could see the password of --ispyb: have the "
                "URL in a file (--ispyb FILE), or in PLAZA_ISPYB_URL",
                err=True,
            )
        return option, "--ispyb"
    try:
        with Path(option).open(errors="replace") as stream:
            url = stream.readline(_LONGEST_URL).strip()
            mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            "ISPyB's URL can't be used: what --ispyb says is no URL, and no file that can be read "
            f"({reason}); expected a URL such as sqlite:///path, or a file with one in its first line"
        ) from None  # it isn't shown: it may be a URL that isn't whole, password and all
    if "://" not in url:
        raise ConfigurationError(
            f"ISPyB's URL can't be used: the first line of {option} is no URL of a database, such as sqlite:///path"
        )
    if has_password(url) and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        typer.echo(f"plaza: warning: others may read {option}, which holds a password: chmod 600 {option}", err=True)
    return url, option


@contextmanager
def open_ispyb(url: str | None) -> Iterator[Engine]:
    """Open the ISPyB of a URL, or of the settings, for a command that reads. Raises as `open_engines` does."""
    with open_engines(url) as engines:
        yield engines.reader


@contextmanager
def open_engines(url: str | None) -> Iterator[Engines]:
    """Open the ISPyB of a URL, or of the settings, for a command.

    Raises
    ------
    ConfigurationError
        The URL can't be read, or the database takes none of our statements: it is no ISPyB.
    """
    from sqlalchemy.exc import DBAPIError

    from blocks.ispyb_connection import safe_url

    engines = find_ispyb(url)
    engine = engines.writing
    try:
        yield engines
    except DBAPIError as error:
        raise ConfigurationError(f"ISPyB at {safe_url(engine)} refuses what it is asked: {error.orig}") from error
    finally:
        engines.dispose()
