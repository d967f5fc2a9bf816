"""Which images people mean: files, images of masters, folders."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from blocks.errors import PlazaError
from tasks.diffraction.requests import LAST_IMAGE, MASTER_SUFFIXES, STACK_SUFFIXES, holds_several_images
from tasks.regular_files import unfit_kind

_SINGLE_IMAGE: Final = re.compile(r"\.(cbf|img|mccd|marccd|mar\d+|osc|sfrm|smv)(\.gz|\.bz2)?\Z", re.IGNORECASE)
"""How files of one image end; anything may be named by itself, but of a folder these are taken."""

_PART_OF_A_MASTER: Final = re.compile(r"(_meta|_data_\d+|_\d{6})\.(h5|hdf5)\Z", re.IGNORECASE)
"""How files end that detectors write beside their master: data files, and what they have in common."""

_NUMBERED: Final = re.compile(r"(?P<file>.+):(?P<first>\d{1,9})(-(?P<last>\d{1,9}))?", re.DOTALL)

_DIGITS: Final = frozenset("0123456789")


class NoSuchImages(PlazaError):
    """What was asked for isn't there, or is no image."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image.

    Parameters
    ----------
    file
        As it was named.
    number
        In its master, from 1; of a file of one image, its place among those that were asked for.
    is_of_several
        Its file may hold other images too.
    """

    file: str
    number: int
    is_of_several: bool = False

    @property
    def name(self) -> str:
        """Its name for people: that of its file, and its number in a master."""
        return f"{self.file}:{self.number}" if self.is_of_several else self.file


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that was named, or found in a folder; images `first` to `last` of it, None: all that are there."""

    file: str
    first: int | None = None
    last: int | None = None
    is_found: bool = False


@dataclass
class ImageList:
    """The images that are meant.

    Parameters
    ----------
    refused
        What else was named, and why it's no image or can't be had; a line each.
    notes
        What is to be said besides, such as how many images of a master are missing.
    """

    images: list[Image] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_name(text: str) -> list[NamedFile]:
    """Read what somebody has named: a file, FILE:N, FILE:N-M, or a folder, of which all images are meant.

    A file whose own name ends in a colon and a number is that file.

    Raises
    ------
    NoSuchImages
        It isn't there, or is none of these.
    """
    if not os.path.lexists(text) and (numbered := _NUMBERED.fullmatch(text)):
        first = int(numbered["first"])
        last = int(numbered["last"] or first)
        return [_numbered_file(numbered["file"], first, last)]
    if stat.S_ISDIR(_status_of(text).st_mode):
        return list_folder(text)
    _require_file(text)
    return [NamedFile(text)]


def _numbered_file(file: str, first: int, last: int) -> NamedFile:
    _require_file(file)
    if not 1 <= first <= last <= LAST_IMAGE:
        raise NoSuchImages(
            f"expected images from 1 to {LAST_IMAGE:,}, the first before the last; seen {first} to {last} of {file}"
        )
    if holds_several_images(file):
        return NamedFile(file, first, last)
    if (first, last) != (1, 1):
        raise NoSuchImages(f"{file} is a file of one image, which has no image {last}: name it without a number")
    return NamedFile(file)


def _status_of(file: str) -> os.stat_result:
    try:
        return os.stat(file)  # noqa: PTH116 - says why it can't be seen
    except (OSError, ValueError) as error:
        raise NoSuchImages(f"{file}: {getattr(error, 'strerror', None) or error}") from error


def _require_file(file: str) -> None:
    _status_of(file)
    if (kind := unfit_kind(file)) is not None:
        raise NoSuchImages(f"{file} {kind}; expected an image, a master or a folder of them")


def list_folder(folder: str) -> list[NamedFile]:
    """Return the files of a folder that are images or masters, in the natural order of their names.

    Not those in folders within it, nor hidden ones. Of a `.nxs` and a `_master.h5` with the same stem, the first is
    taken; data files and meta files aren't, by their names, and others turn out to be parts of a master when it's read.

    Raises
    ------
    NoSuchImages
        It can't be read, or there are none.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries if _may_be_file(entry)), key=natural_key)
    except OSError as error:
        raise NoSuchImages(f"the folder {folder} can't be read: {error.strerror or error}") from error
    there = set(names)
    chosen = [
        name
        for name in names
        if not name.startswith(".")
        and (_SINGLE_IMAGE.search(name) or name.lower().endswith((*MASTER_SUFFIXES, *STACK_SUFFIXES)))
        and not _PART_OF_A_MASTER.search(name)
        and not (name.endswith("_master.h5") and f"{name.removesuffix('_master.h5')}.nxs" in there)
    ]
    if not chosen:
        raise NoSuchImages(
            f"the folder {folder} holds no images: expected files such as .cbf, .cbf.gz, .img, or masters (.nxs, "
            f"_master.h5); seen {len(names):,} other file{'s' * (len(names) != 1)}"
        )
    return [NamedFile(os.path.join(folder, name), is_found=True) for name in chosen]  # noqa: PTH118 - as it was named


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link into a folder that nobody may enter: why it can't be read is told at its turn
        return True


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return by what names are ordered so that 10 comes after 9.

    >>> sorted(["a_10.cbf", "a_9.cbf", "a_09.cbf"], key=natural_key)
    ['a_09.cbf', 'a_9.cbf', 'a_10.cbf']
    """
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    key = [(1, int(part), "") if part[0] in _DIGITS else (2, 0, part) for part in parts]
    return [*key, (0, 0, name)]


def without_repeats(files: Iterable[NamedFile]) -> tuple[list[NamedFile], list[NamedFile]]:
    """Return files once each, whatever they are called, and those that were named again."""
    seen: set[tuple[str, int | None, int | None]] = set()
    once: list[NamedFile] = []
    again: list[NamedFile] = []
    for named in files:
        key = (os.path.realpath(named.file), named.first, named.last)
        (again if key in seen else once).append(named)
        seen.add(key)
    return once, again
