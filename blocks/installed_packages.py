"""Which package an entry point is of, whatever state that package's metadata is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def package_of(point: EntryPoint) -> str:
    """Return the name of an entry point's package; empty: it has none that can be read."""
    if point.dist is None:
        return ""
    try:
        name: str | None = point.dist.name
    except (OSError, ValueError, KeyError):  # importlib_metadata's, which takes the library's place once it's imported
        return ""
    return name or ""
