"""Where the links of an HDF5 file lead, by HDF5's own rules, whether or not anything is there yet.

HDF5 follows a link to another file when somebody asks for what is behind it. A reader that did so would hold that file
open by a lock and in a mode of HDF5's choice, and a file that isn't there yet would be nothing but a missing key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tasks.fresh_folders import FreshFolders

if TYPE_CHECKING:
    import h5py

LINKS_IN_A_ROW = 16
"""HDF5 follows no more (H5L_NUM_LINKS): they go in a circle."""

_FOLDERS = FreshFolders()
_PREFIXES = {"link": "HDF5_EXT_PREFIX", "virtual": "HDF5_VDS_PREFIX"}


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A file as a link names it: whichever of these places has a file; it's `expected` in one of them."""

    places: tuple[str, ...]
    expected: str

    @classmethod
    def itself(cls, path: str) -> LinkedFile:
        """Return a file that is named by its path."""
        return cls((path,), path)

    @classmethod
    def named(cls, name: str, holder: str, kind: Literal["link", "virtual"] = "link") -> LinkedFile:
        """Return the file that a link, or a mapping of a virtual dataset, names.

        The places are those of H5F_prefix_open_file, but for the current folder, which no service has chosen: beside
        the file that holds the link, as that was named; then, if that is a symbolic link, beside the file it leads to.

        Parameters
        ----------
        name
            The file's name in the link.
        holder
            The path by which the file that holds the link was opened.
        """
        folder = os.path.dirname(holder)  # noqa: PTH120 - as HDF5 joins them: a Path would lose what `..` means
        folders = [folder]
        if os.path.islink(holder):  # noqa: PTH114
            folders.append(os.path.dirname(os.path.realpath(holder)))  # noqa: PTH120
        # The folders of these variables come before the holder's own. Where nothing has an absolute name, HDF5 looks in
        # all of them for the file's name alone.
        prefixes = os.environ.get(_PREFIXES[kind], "").replace("${ORIGIN}", folder)
        is_absolute = name.startswith("/")
        local = name.rpartition("/")[2] if is_absolute else name
        places = [os.path.join(place, local) for place in (*filter(None, prefixes.split(":")), *folders)]  # noqa: PTH118
        if is_absolute:
            return cls((name, *places), name)
        return cls(tuple(dict.fromkeys(places)), places[-1])

    @classmethod
    def mapped(cls, name: str, holder: str) -> LinkedFile:
        """Return the file that a mapping of a virtual dataset names, in which a percent sign is written twice.

        A `%b` would be the number of a block among files without end.
        """
        return cls.named(name.replace("%%", "%"), holder, "virtual")

    @classmethod
    def raw(cls, name: str, holder: str) -> LinkedFile:
        """Return the file of no format in which a dataset has its values; here HDF5 looks in the current folder."""
        folder = os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", os.path.dirname(holder))  # noqa: PTH120
        return cls.itself(os.path.join(folder, name))  # noqa: PTH118 - an absolute name stays as it is

    def find(self) -> str | None:
        """Return the file's path if it's there."""
        found = self._find_seen()
        if found is None:
            asked = [_FOLDERS.ask_again(place) for place in self.places]
            if any(asked):
                found = self._find_seen()
        return found

    def _find_seen(self) -> str | None:
        return next((place for place in self.places if os.path.isfile(place)), None)  # noqa: PTH113 - once an image


@dataclass(frozen=True, slots=True)
class Target:
    """What a path in a file leads to: an object at `path`, of the same file if `file` is None."""

    path: str
    file: LinkedFile | None = None


def follow(file: h5py.File, holder: str, path: str) -> Target | None:
    """Follow a path in an open file, over soft links, until it ends or leads to another file; None if it's broken.

    Parameters
    ----------
    holder
        The path by which the file was opened.
    """
    import h5py

    group, names = file["/"], _split(path)
    followed = 0
    while names:
        name, *names = names
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.HardLink):
            group = group[name]
            continue
        followed += 1
        if link is None or followed > LINKS_IN_A_ROW:
            return None
        names = [*_split(link.path), *names]
        if isinstance(link, h5py.ExternalLink):
            return Target("/" + "/".join(names), LinkedFile.named(link.filename, holder))
        if link.path.startswith("/"):
            group = file["/"]
    return Target(group.name)


def _split(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]
