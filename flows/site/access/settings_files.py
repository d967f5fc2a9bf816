"""Files of the current folder from which Prefect reads settings: another user's could have it run any code.

One setting names the configuration of its logging, which may name any Python object to be called.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from blocks.errors import ConfigurationError


def refuse_settings_of_others(folder: Path | None = None) -> None:
    """Refuse to work in a folder, the current one if none is said, where Prefect reads what another user has written.

    Raises
    ------
    ConfigurationError
        A file of settings for Prefect is neither this user's nor root's.
    """
    for name in (".env", "prefect.toml", "pyproject.toml"):
        file = (folder or Path()) / name
        try:
            owner = file.stat().st_uid
        except OSError:  # not there, or Prefect can't read it either
            continue
        if owner not in {0, os.geteuid()} and _says_something(file):
            raise ConfigurationError(
                f"{name} in the current folder is another user's, and Prefect would take settings from it: "
                "say it in another folder"
            )


def _says_something(file: Path) -> bool:
    """Tell whether Prefect finds settings in the file, or can't tell: many a folder has a file of such a name."""
    try:
        text = file.read_text(errors="replace")
        if file.name == "pyproject.toml":
            return "prefect" in tomllib.loads(text).get("tool", {})
    except (OSError, ValueError, AttributeError):
        return True
    return file.name == "prefect.toml" or "prefect" in text.lower()
