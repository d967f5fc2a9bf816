"""The site's ISPyB: that of the settings, else of the Prefect block `ispyb-database/plaza`, else SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from blocks.errors import DatabaseUnavailable
from blocks.ispyb_connection import open_engine
from blocks.prefect_api import has_prefect_api
from blocks.settings import Settings

if TYPE_CHECKING:
    from blocks.ispyb_database import ISPyBDatabase

BLOCK_NAME = "plaza"
SQLITE_FILE = "ispyb.sqlite"


def connect(settings: Settings) -> Engine:
    """Open the ISPyB of the settings.

    That is their URL, else that of the block `ispyb-database/plaza`, else SQLite in the home folder.
    Opening doesn't reach out yet: the first transaction does.

    Raises
    ------
    ConfigurationError
        The URL can't be read or its driver isn't there.
    DatabaseUnavailable
        The Prefect API, which may hold the URL, doesn't answer.
    """
    if settings.ispyb_url:
        return open_engine(settings.ispyb_url)
    if block := _saved_block():
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
    block = _saved_block() if settings.ispyb_url is None else None
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
    block = _saved_block() if settings.ispyb_url is None else None
    return "sql" if block is None else block.writer


def _saved_block() -> ISPyBDatabase | None:
    if not has_prefect_api():
        return None
    from blocks.ispyb_database import ISPyBDatabase  # Prefect's blocks take a second to import
    from blocks.saved_blocks import find_block

    return find_block(
        ISPyBDatabase, BLOCK_NAME, holds="ISPyB's address", setting="PLAZA_ISPYB_URL", away=DatabaseUnavailable
    )
