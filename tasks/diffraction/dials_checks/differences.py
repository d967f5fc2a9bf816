"""Images of which Plaza's own way and DIALS said different things: kept in the home folder until somebody has seen it.

One for each recipe run, the first: all later images of that run are DIALS's. The newest are kept, and those of all runs
that may be taken up again, as long as their records are there.
"""

from __future__ import annotations

import getpass
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from blocks.errors import PlazaError
from blocks.home_folder import RECIPE_RUNS
from blocks.identifiers import Dcid
from tasks.diffraction.dials_checks.software import software_that_finds_spots
from tasks.diffraction.requests import ImageStatistics
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

FOLDER: Final = "spot-differences"
"""In the home folder; a file for each recipe run."""
MOST_KEPT: Final = 100
MOST_TOLD: Final = 2  # numbers, in a line
_LARGEST: Final = 100_000  # bytes of a file; a path has 4096 at most


class UnknownDifference(PlazaError):
    """No image of such a run is known whose spots differed from DIALS's."""


@dataclass(frozen=True)
class Acknowledgement:
    """Somebody has seen it: when (s since the epoch), and who."""

    at: float
    by: str


@dataclass(frozen=True)
class Difference:
    """An image on which Plaza's own way and DIALS differed.

    Parameters
    ----------
    recipe_run, recipe, dcid, node
        The run in which it was found, and its node.
    image
        As people say it.
    own_way, dials
        What each said of it; DIALS's numbers have been passed on.
    may_be_wrong
        Images of the run that Plaza's own way had done before, unchecked, and that DIALS hasn't done since, by node.
    software
        What found the spots (see `software_that_finds_spots`).
    host
        The machine of the run's process.
    at
        Seconds since the epoch.
    """

    recipe_run: str
    recipe: str
    dcid: Dcid | None
    node: int | None
    image: str
    own_way: ImageStatistics
    dials: ImageStatistics
    may_be_wrong: dict[int, int]
    software: str
    host: str
    at: float
    acknowledged: Acknowledgement | None = None

    @property
    def what_differs(self) -> str:
        """The numbers that aren't the same, the first of them with both values: `n_spots_total 41 (DIALS: 42)`."""
        differing = differing_numbers(self.own_way, self.dials)
        told, left_out = differing[:MOST_TOLD], len(differing) - MOST_TOLD
        return ", ".join([*told, f"and {left_out} more"] if left_out > 0 else told)

    @property
    def is_of_this_software(self) -> bool:
        """Whether it was found with what this process would find spots with."""
        return self.software == software_that_finds_spots()


def differing_numbers(own_way: ImageStatistics, dials: ImageStatistics) -> list[str]:
    """Return the numbers that aren't the same: `n_spots_total 41 (DIALS: 42)`."""
    theirs = asdict(dials)
    return [
        f"{name} {value} (DIALS: {theirs[name]})"
        for name, value in asdict(own_way).items()
        if repr(value) != repr(theirs[name])  # NaN is like NaN
    ]


class Differences:
    """The differences that are kept in a home folder."""

    def __init__(self, home: Path) -> None:
        self._folder, self._runs = home / FOLDER, home / RECIPE_RUNS

    def keep(self, difference: Difference) -> None:
        """Keep what was found in a run, in the place of what was found in it with other software.

        Of what was found with the same software the first stays, but for how many images may be wrong.

        Raises
        ------
        OSError
            It can't be written.
        """
        before = self.of_run(difference.recipe_run)
        if before is None or before.software != difference.software:
            self._write(difference)
        elif before.may_be_wrong != difference.may_be_wrong:
            self._write(replace(before, may_be_wrong=difference.may_be_wrong))
        files = sorted(self._folder.glob("*.json"), key=_age_of)
        for file in files[:-MOST_KEPT]:
            if not (self._runs / file.stem).is_dir():
                file.unlink(missing_ok=True)

    def of_run(self, recipe_run: str) -> Difference | None:
        """Return what was found in a run; None if nothing was."""
        return _read(self._file(recipe_run))

    def all(self) -> Iterator[Difference]:
        """Yield all that are kept, oldest first; what is none is left out, with a line in the log."""
        for file in sorted(self._folder.glob("*.json"), key=_age_of):
            if found := _read(file):
                yield found

    def open(self) -> tuple[Difference, ...]:
        """Return those that somebody has to look at: of this software, and not acknowledged, oldest first."""
        return tuple(found for found in self.all() if found.is_of_this_software and found.acknowledged is None)

    def acknowledge(self, recipe_run: str) -> list[Difference]:
        """Note who has seen what was found in a run, given by the start of its id, and return it.

        Raises
        ------
        UnknownDifference
            Nothing is known to have been found in such a run.
        """
        seen = [found for found in self.all() if recipe_run and found.recipe_run.startswith(recipe_run)]
        if not seen:
            raise UnknownDifference(
                f"no image of a run {recipe_run!r:.200} is kept in {self._folder} whose spots differed from DIALS's: "
                "`plaza status` names those runs"
            )
        acknowledged = Acknowledgement(time.time(), getpass.getuser())
        noted = [found if found.acknowledged else replace(found, acknowledged=acknowledged) for found in seen]
        for found in noted:
            self._write(found)
        return noted

    def _write(self, difference: Difference) -> None:
        # json: a file's name may hold half characters, which it writes as escapes
        write_atomically(self._file(difference.recipe_run), json.dumps(asdict(difference), indent=2).encode() + b"\n")

    def _file(self, recipe_run: str) -> Path:
        return self._folder / f"{recipe_run}.json"


def _read(file: Path) -> Difference | None:
    try:
        with file.open("rb") as content:
            return msgspec.convert(json.loads(content.read(_LARGEST)), Difference, str_keys=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # msgspec's own are ValueErrors
        logger.warning("%s says nothing of an image whose spots differed from DIALS's: %s", file, error)
        return None


def _age_of(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # removed just now
        return 0.0
