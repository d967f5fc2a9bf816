"""What the block `ispyb-database/plaza` said when Prefect's API was last asked for it, kept in the home folder.

Data collections go on while the site is away, and their rows belong where it looks for them.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr, ValidationError

if TYPE_CHECKING:
    from blocks.ispyb_database import ISPyBDatabase

logger = logging.getLogger(__name__)

_FILE = "ispyb-last-known.json"


def is_homes_own_api(home: Path) -> bool:
    """Tell whether this process's Prefect API is that of the home's site: another one's block says nothing of it."""
    return os.environ.get("PREFECT_HOME") == str(home / "prefect")


def read_last_known(home: Path) -> ISPyBDatabase | None:
    """Return the block as it was last known; None if there was none, or nobody has asked."""
    from blocks.ispyb_database import ISPyBDatabase

    try:
        return ISPyBDatabase.model_validate_json((home / _FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        logger.warning("%s can't be read as an address of ISPyB, and is ignored", home / _FILE)
        return None


def has_last_known(home: Path) -> bool:
    """Tell whether there was a block, without importing Prefect."""
    return (home / _FILE).exists()


def remember(home: Path, block: ISPyBDatabase | None) -> None:
    """Keep what the block says, or that there is none; a home that can't be written just doesn't learn it."""
    try:
        if block is None:
            (home / _FILE).unlink(missing_ok=True)
        else:
            _write(home / _FILE, _as_json(block))
    except OSError as error:
        logger.info("ISPyB's address can't be kept in %s: %s", home, error.strerror)


def _as_json(block: ISPyBDatabase) -> str:
    content = {"url": block.url, "read_url": block.read_url, "writer": block.writer}
    shown = {name: each.get_secret_value() if isinstance(each, SecretStr) else each for name, each in content.items()}
    return json.dumps(shown) + "\n"


def _write(file: Path, content: str) -> None:
    """Write a file that nobody else may read, since it may hold a password, unless it says so already."""
    with suppress(FileNotFoundError):
        if file.read_text() == content:
            return
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as stream:
            stream.write(content)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
