"""Whether a file is what it was: the one idea of it, for whoever keeps what was read from files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What differs once a file is replaced or written to, even where its date was put back.

    Also after a `chmod` or a new hard link: then the file is read once more. The device is left out, since it has
    another number on each machine, and workers on several tell each other of files.
    """

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileVersion:
        """Return the version of a file that has this status."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def file_version(path: str) -> FileVersion | None:
    """Return the version of a file as it is now; None while it isn't seen."""
    with suppress(OSError, ValueError):
        return FileVersion.of(os.stat(path))  # noqa: PTH116 - once an image
    return None


def are_as_before(versions: Mapping[str, FileVersion | None]) -> bool:
    """Tell whether files are what they were."""
    return all(file_version(path) == version for path, version in versions.items())


def is_later(version: FileVersion | None, other: FileVersion | None) -> bool:
    """Tell whether one version of a file came after another, by the file server's clock; what isn't seen was before."""
    return version is not None and (other is None or version.changed_ns > other.changed_ns)
