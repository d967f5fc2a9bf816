"""A master's groups and datasets by their paths, whichever files links lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tasks.file_version import FileVersion, file_version
from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.links import LINKS_IN_A_ROW, LinkedFile, Target, follow
from tasks.nexus.opening import faults_at, open_file

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class Found:
    """What a path leads to, and the path by which the file that it's in was opened."""

    object: h5py.Group | h5py.Dataset
    holder: str

    @property
    def is_group(self) -> bool:
        """Whether it has members."""
        import h5py

        return isinstance(self.object, h5py.Group)

    @property
    def nx_class(self) -> str | None:
        """Its NeXus class."""
        return self.attribute("NX_class")

    @property
    def members(self) -> list[str]:
        """The names in a group, in the order in which h5py, and thus DIALS, goes through them."""
        with faults_at(self.holder):
            return list(self.object) if self.is_group else []

    @property
    def text(self) -> str | None:
        """The text that a dataset holds; None if it's something else."""
        with faults_at(self.holder):
            return None if self.is_group else text_of(self.object[()])

    def attribute(self, name: str) -> str | None:
        """Return an attribute's text; None if it's something else, or isn't there."""
        with faults_at(self.holder):
            return text_of(self.object.attrs.get(name))


class MasterTree:
    """A master, and the files to which its links lead, which are open as long as the tree is.

    Attributes
    ----------
    versions
        Each file that was opened, as it was just before.
    """

    def __init__(self, master: str, open_file: Callable[[str], h5py.File] = open_file) -> None:
        self.master = master
        self.versions: dict[str, FileVersion | None] = {}
        self._open_file = open_file
        self._files: dict[str, h5py.File] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        self._file_at(self.master)
        return self

    def __exit__(self, *fault: object) -> None:
        self._closing.close()

    def get(self, path: str, beside: Found | None = None) -> Found | None:
        """Return what a path leads to; None if there is nothing in a file that is there.

        Parameters
        ----------
        path
            From the master's root.
        beside
            What a relative path starts from: a group, or a dataset's group; an absolute one starts from its file.

        Raises
        ------
        NotReady
            A file on the way isn't there, or is in the making.
        UnusableMaster
            A file can't be read, or links lead in a circle.
        """
        holder, inner = self.locate(path, beside)
        with faults_at(holder):
            return Found(self._file_at(holder)[inner], holder) if inner else None

    def get_in(self, file: LinkedFile, path: str) -> Found | None:
        """Return what a path in a file leads to, as `get` does."""
        place = file.find()
        if place is None:
            raise FileAbsent(file.expected)
        return self.get("/" + path.lstrip("/"), Found(self._root_of(place), place))

    def is_linked(self, path: str, beside: Found) -> bool:
        """Tell whether a path that leads to nothing ends at a link, whose target isn't there; else nothing is there."""
        at = self.get("/" if path.startswith("/") else ".", beside)
        for name in filter(None, path.split("/")):
            if at is None or not at.is_group:
                return False
            member = self.get(name, at)
            if member is None:
                with faults_at(at.holder):
                    return at.object.get(name, getlink=True) is not None
            at = member
        return False

    def locate(self, path: str, beside: Found | None = None) -> tuple[str, str | None]:
        """Return the file in which a path ends, and the path there; None: there's nothing. Raises as `get`."""
        holder = beside.holder if beside else self.master
        if beside and not path.startswith("/"):
            start = beside.object if beside.is_group else beside.object.parent
            path = f"{start.name}/{path}"
        for _ in range(LINKS_IN_A_ROW):
            with faults_at(holder):
                target = follow(self._file_at(holder), holder, path)
            if target is None or target.file is None:
                return holder, target.path if target else None
            holder, path = _place_of(target), target.path
        raise UnusableMaster(f"{self.master}: {path} is a link that leads back to itself")

    def follow(self, path: str) -> Target | None:
        """Follow a path until it ends in the master or leads to another file; None if it's broken."""
        with faults_at(self.master):
            return follow(self._file_at(self.master), self.master, path)

    def first_of(self, parent: str, nx_class: str) -> str | None:
        """Return the path of the first group of a NeXus class in a group."""
        return next(self.all_of(parent, nx_class), None)

    def all_of(self, parent: str, nx_class: str) -> Iterator[str]:
        """Yield the paths of the groups of a NeXus class in a group, however they are linked there.

        Raises
        ------
        NotReady, UnusableMaster
            There are none, but one may be in a file that isn't there, or can't be read.
        """
        group = self.get(parent)
        absent: NotReady | UnusableMaster | None = None
        found_any = False
        for name in group.members if group else ():
            path = f"{parent.rstrip('/')}/{name}"
            try:
                member = self.get(path)
            except (NotReady, UnusableMaster) as error:
                absent = absent or error
                continue
            if member is not None and member.is_group and member.nx_class == nx_class:
                found_any = True
                yield path
        if absent and not found_any:
            raise absent

    def _root_of(self, holder: str) -> h5py.Group:
        with faults_at(holder):
            return self._file_at(holder)["/"]

    def _file_at(self, holder: str) -> h5py.File:
        if holder not in self._files:
            self.versions[holder] = file_version(holder)
            self._files[holder] = self._closing.enter_context(self._open_file(holder))
        return self._files[holder]


def _place_of(target: Target) -> str:
    assert target.file is not None, "it leads to another file"
    place = target.file.find()
    if place is None:
        raise FileAbsent(target.file.expected)
    return place


def text_of(value: object) -> str | None:
    """Return the text that an attribute or a dataset holds; None if it's something else."""
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:  # NumPy's
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None
