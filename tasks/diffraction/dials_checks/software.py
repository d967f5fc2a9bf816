"""What finds spots here: DIALS, and Plaza's own way, which a check by DIALS has found right or wrong."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from tasks.diffraction.installed_dials import dials_version

ROOMS: Final = ("image_files", "kernel", "spot_finding")
"""Of `tasks.diffraction`: what makes numbers of an image."""
_SOURCES: Final = frozenset({".py", ".c", ".h"})


@cache
def software_that_finds_spots() -> str:
    """Return DIALS's version and a digest of the sources of Plaza's own way.

    Not of what was compiled of them, which differs from machine to machine: what one has found holds for all.
    """
    room = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(path for name in ROOMS for path in (room / name).rglob("*") if path.suffix in _SOURCES):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(room)} {len(content)}\n".encode())
        digest.update(content)
    return f"DIALS {dials_version() or 'unknown'}, Plaza's own way {digest.hexdigest()[:12]}"
