"""A network file system's client, as far as it remembers names that weren't there."""

import errno
import os
from pathlib import Path

import pytest


class NameCache:
    """Remembers each name below a folder that was asked for in vain, until its folder is opened.

    Of the folders above a name, each is asked for by itself, as the kernel does.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = root
        self.absent: set[str] = set()
        self.opened: list[str] = []
        self._stat, self._scandir = os.stat, os.scandir
        monkeypatch.setattr(os, "stat", self._look)
        monkeypatch.setattr(os, "scandir", self._open)

    def _below(self, path: object) -> list[str]:
        if not isinstance(path, str | os.PathLike):
            return []
        parts = [Path(path), *Path(path).parents]
        return [str(part) for part in reversed(parts) if self._root in part.parents]

    def _ask(self, path: object) -> None:
        for name in self._below(path):
            try:
                if name in self.absent:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
                self._stat(name)
            except FileNotFoundError:
                self.absent.add(name)
                raise

    def _look(self, path, *arguments, **options):
        self._ask(path)
        return self._stat(path, *arguments, **options)

    def _open(self, path="."):
        self._ask(path)
        self.opened.append(str(path))
        self.absent -= {name for name in self.absent if os.path.dirname(name) == str(path)}  # noqa: PTH120
        return self._scandir(path)
