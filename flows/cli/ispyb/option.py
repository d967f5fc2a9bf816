"""The option `--ispyb URL` of commands that look into ISPyB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from blocks.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Engine

IspybURL = Annotated[
    str | None,
    typer.Option("--ispyb", metavar="URL", help="SQLAlchemy URL of ISPyB; unset: the ISPyB of the settings."),
]


def find_ispyb(url: str | None) -> Engine:
    """Return the ISPyB of a URL, or of the settings, or of the site that runs here: a block may hold its address.

    Raises
    ------
    ConfigurationError
        The URL can't be read.
    DatabaseUnavailable
        The site's Prefect API, which may hold the address, doesn't answer.
    """
    from blocks.ispyb_connection import open_engine
    from blocks.settings import get_settings
    from blocks.site_ispyb import connect
    from flows.site.running_site import site_file, use_running_site

    if url:
        return open_engine(url)
    settings = get_settings()
    if settings.ispyb_url is None and not os.environ.get("PREFECT_API_URL") and site_file(settings.home).exists():
        use_running_site(settings)
    return connect(settings)


@contextmanager
def open_ispyb(url: str | None) -> Iterator[Engine]:
    """Open the ISPyB of a URL, or of the settings, for a command.

    Raises
    ------
    ConfigurationError
        The URL can't be read, or the database takes none of our statements: it is no ISPyB.
    """
    from sqlalchemy.exc import DBAPIError

    from blocks.ispyb_connection import safe_url

    engine = find_ispyb(url)
    try:
        yield engine
    except DBAPIError as error:
        raise ConfigurationError(f"ISPyB at {safe_url(engine)} refuses what it is asked: {error.orig}") from error
    finally:
        engine.dispose()
