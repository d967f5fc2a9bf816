"""The site's ISPyB: that of the settings, else of the Prefect block `ispyb-database/plaza`, else SQLite."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from blocks.errors import DatabaseUnavailable
from blocks.ispyb_connection import open_engine, safe_url
from blocks.last_known_ispyb import has_last_known, is_homes_own_api, read_last_known, remember
from blocks.prefect_api import has_prefect_api
from blocks.settings import Settings

if TYPE_CHECKING:
    from blocks.ispyb_database import ISPyBDatabase

BLOCK_NAME = "plaza"
SQLITE_FILE = "ispyb.sqlite"
_PATIENCE_S: Final = 5.0

logger = logging.getLogger(__name__)


def connect(settings: Settings, *, or_last_known: bool = False) -> Engine:
    """Open the ISPyB of the settings.

    That is their URL, else that of the block `ispyb-database/plaza`, else SQLite in the home folder.
    Opening doesn't reach out yet: the first transaction does.

    Parameters
    ----------
    or_last_known
        If the home's site is away, take the block as it was last known; else that is an error, or no block: runs, which
        can wait for the site, never write where it doesn't look.

    Raises
    ------
    ConfigurationError
        The URL can't be read or its driver isn't there.
    DatabaseUnavailable
        The Prefect API, which may hold the URL, doesn't answer.
    """
    if settings.ispyb_url:
        return open_engine(settings.ispyb_url)
    if block := _saved_block(settings, or_last_known):
        return block.connect()
    return open_engine(URL.create("sqlite", database=str(settings.home / SQLITE_FILE)))


def connect_reader(settings: Settings) -> Engine | None:
    """Open the ISPyB of the settings as the user that reads; None if that is the one that writes.

    Raises
    ------
    ConfigurationError, DatabaseUnavailable
        As `connect` does.
    """
    if settings.ispyb_read_url:
        return open_engine(settings.ispyb_read_url, "PLAZA_ISPYB_READ_URL")
    block = _saved_block(settings) if settings.ispyb_url is None else None
    return None if block is None else block.connect_reader()


def writer_kind(settings: Settings) -> str:
    """Return how ISPyB is to be written: `sql`, unless the settings or the block that holds its URL say otherwise.

    Raises
    ------
    DatabaseUnavailable
        The Prefect API, which may hold the choice, doesn't answer.
    """
    if settings.ispyb_writer is not None:
        return settings.ispyb_writer
    block = _saved_block(settings) if settings.ispyb_url is None else None
    return "sql" if block is None else block.writer


def _saved_block(settings: Settings, or_last_known: bool = False) -> ISPyBDatabase | None:
    home = settings.home
    if not has_prefect_api():
        return _last_known(settings, "no site runs") if or_last_known and has_last_known(home) else None
    from blocks.ispyb_database import ISPyBDatabase  # Prefect's blocks take a second to import
    from blocks.saved_blocks import find_block

    is_own = is_homes_own_api(home)
    patience_s = _PATIENCE_S if or_last_known and is_own else None
    options = {"holds": "ISPyB's address", "setting": "PLAZA_ISPYB_URL"}
    try:
        block = find_block(ISPyBDatabase, BLOCK_NAME, **options, away=DatabaseUnavailable, patience_s=patience_s)
    except DatabaseUnavailable:
        if patience_s is None:
            raise
        return _last_known(settings, "the site's API doesn't answer")
    if is_own:
        remember(home, block)
    return block


def _last_known(settings: Settings, why: str) -> ISPyBDatabase | None:
    block = read_last_known(settings.home)
    where = f"{settings.home / SQLITE_FILE}, since no block was known" if block is None else safe_url(block.connect())
    logger.warning("%s, so ISPyB is taken to be where it last was: %s", why, where)
    return block
