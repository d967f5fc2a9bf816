"""Which data collections the files of a folder are, by their names alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blocks.errors import PlazaError

# Names may hold anything, a line's end too
CBF_NAME = re.compile(r"(?P<stem>.+_)(?P<number>[0-9]+)(?P<suffix>\.cbf(\.gz|\.bz2)?)", re.DOTALL)
MASTER_NAME = re.compile(r"(?P<stem>.+?)(?P<suffix>\.nxs|_master\.h5)", re.DOTALL)
NAMES_IN_MESSAGES = 10


class UnusableImages(PlazaError):
    """A folder holds no images that can be replayed."""


@dataclass(frozen=True)
class Series:
    """Names of one sweep's files: a template with # for digits, or a master's name; and the numbers seen."""

    template: str
    numbers: tuple[int, ...] = ()


def group_files(names: Iterable[str]) -> list[Series]:
    """Group the file names of a folder into sweeps.

    Numbers of one sweep are as wide as its template has #, or wider where they outgrow it: 8, 9, 10 are, and 998, 999,
    1000. Of a `.nxs` and a `_master.h5` with the same stem, the first is taken. Other files are left out.

    Raises
    ------
    UnusableImages
        A sweep has gaps in its numbers, or its numbers have different widths, or its files different suffixes.
    """
    digits: dict[tuple[str, str], list[str]] = defaultdict(list)
    masters: dict[str, str] = {}
    for name in sorted(names):
        if image := CBF_NAME.fullmatch(name):
            digits[image["stem"], image["suffix"]].append(image["number"])
        elif (master := MASTER_NAME.fullmatch(name)) and not masters.get(master["stem"], "").endswith(".nxs"):
            masters[master["stem"]] = name
    _check_suffixes(digits)
    cbf = [_series(stem, suffix, seen) for (stem, suffix), seen in digits.items()]
    return cbf + [Series(name) for name in sorted(masters.values())]


def stem_of_master(name: str) -> str:
    """Return what the names of a master's other files begin with."""
    return re.sub(r"(\.nxs|_master\.h5)\Z", "", name)


def _check_suffixes(found: Iterable[tuple[str, str]]) -> None:
    suffixes: dict[str, list[str]] = defaultdict(list)
    for stem, suffix in found:
        suffixes[stem].append(suffix)
    for stem, several in suffixes.items():
        if len(several) > 1:
            raise UnusableImages(
                f"{stem}… has images that end in {', '.join(sorted(several))}: expected one ending in a data "
                "collection; keep one of them in the folder"
            )


def _series(stem: str, suffix: str, digits: list[str]) -> Series:
    width = min(map(len, digits))
    template = f"{stem}{'#' * width}{suffix}"
    odd = [text for text in digits if f"{int(text):0{width}d}" != text]
    if odd:
        raise UnusableImages(
            f"{template} has numbers of different widths, such as {_listed([min(digits, key=len), *odd])}: "
            "expected all of them with the same number of digits, or none with a zero before it"
        )
    numbers = sorted(map(int, digits))
    missing = list(_missing(numbers))
    if missing:
        raise UnusableImages(
            f"{template} has images {numbers[0]} to {numbers[-1]} but not {_listed(missing)}: "
            "expected each one; add them, or keep only an unbroken part in the folder"
        )
    return Series(template, tuple(numbers))


def _missing(numbers: list[int]) -> Iterator[int]:
    """Yield the first few numbers that are missing: there may be very many."""
    left = NAMES_IN_MESSAGES
    for index in range(1, len(numbers)):
        for number in range(numbers[index - 1] + 1, min(numbers[index], numbers[index - 1] + 1 + left)):
            yield number
            left -= 1


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in list(values)[:NAMES_IN_MESSAGES])
