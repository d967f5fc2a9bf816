"""Whether a site is to run: `plaza up` notes it in the home folder, and only `plaza down` takes the note away."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)

_FILE = "run/wanted"


def is_wanted(home: Path) -> bool:
    """Say whether a site was started that `plaza down` hasn't stopped, whatever else has."""
    return (home / _FILE).exists()


def want(home: Path) -> None:
    """Note that the site is to run."""
    try:
        (home / _FILE).touch()
    except OSError as error:  # a full disk; the site runs
        logger.warning("%s can't be made (%s): who ends supervisord ends the site", home / _FILE, error)


def want_no_more(home: Path) -> None:
    """Note that the site isn't to run."""
    (home / _FILE).unlink(missing_ok=True)
