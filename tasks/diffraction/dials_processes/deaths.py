"""What is remembered of images that end their DIALS process, so that a bad file or a bad DIALS costs few processes.

A process that dies takes seconds to be replaced; a master has thousands of images. Each Dask worker remembers which
files have killed (`PoisonRecord`), each step with images to analyse how many files have in a row (`DeathsInARow`).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from blocks.retrying import Pauses
from tasks.diffraction.requests import DiffractionRequest, Failure, Poison
from tasks.file_version import FileVersion, file_version, is_later

IMAGES_IN_A_ROW: Final = 3
"""Images of one file that end their process, with none in between that doesn't, before the file is given up.

One or two may be bad images of a good master, or die when a library is replaced beneath all processes at once.
"""

IMAGES_IN_ALL: Final = 20
"""Bad images of one file, however many good ones there are, before it's given up: each costs two processes."""

FILES_IN_A_ROW: Final = 10
"""Files that end their process, with no success in between, before DIALS or its machine is taken to be at fault."""

REMEMBERED_S: Final = 3600.0
"""How long a file is remembered: what is wrong may be mended in a file that it refers to, as a master's meta file."""

REST: Final = Pauses(first_s=5.0, longest_s=30.0)
"""Then one image is tried. Less than for how long a step tries an image again: each lives to see one tried."""

_REMEMBERED = 1000  # files, of each worker


@dataclass
class _FileDeaths:
    """What a file has done: the images that have ended their process, those of them with no success since, verdicts.

    They are those of a path: a master that is still written to has another version at each image.
    """

    version: FileVersion | None
    clock: Callable[[], float]
    images: dict[str, FileVersion | None] = field(default_factory=dict)
    in_a_row: set[str] = field(default_factory=set)
    condemned: FileVersion | None = None
    verdicts: int = 0

    def __post_init__(self) -> None:
        self.since = self.clock()
        self._rest_ends = 0.0

    def note(self, image: str, version: FileVersion | None) -> None:
        self.version = self.images[image] = version
        self.in_a_row.add(image)
        if len(self.in_a_row) >= IMAGES_IN_A_ROW or len(self.images) >= IMAGES_IN_ALL:
            self.condemn(version)

    def condemn(self, version: FileVersion | None) -> None:
        """Give up a version; the next one is tried at once if this is the first, else after a rest."""
        if self.verdicts and version == self.condemned:
            return
        self.version = self.condemned = version
        self.verdicts += 1
        self._rest_ends = self.clock() + (REST.after(self.verdicts - 1) if self.verdicts > 1 else 0.0)

    def clear(self, version: FileVersion | None) -> None:
        """Take in that a process has survived an image of a version."""
        self.in_a_row.clear()
        if self.verdicts and version != self.condemned:
            self.images.clear()

    def is_condemned(self, version: FileVersion | None) -> bool:
        return self.verdicts > 0 and version == self.condemned

    @property
    def rest_s(self) -> float:
        """For how long no later version is tried either."""
        return max(0.0, self._rest_ends - self.clock())

    def is_of_another_file(self, version: FileVersion | None) -> bool:
        """Tell whether the path has another file now, whatever is known of the one that it had."""
        return bool(version and self.version and version.inode != self.version.inode)

    def knows_better_than(self, version: FileVersion | None) -> bool:
        """Tell whether what is known is of a later version."""
        return is_later(self.version, version)


class PoisonRecord:
    """Files whose images have ended DIALS processes.

    A file is given up as it is. Once it's written to it's tried anew: an image at once, and if that one ends its
    process too, another one after a rest, each of which is longer than the one before. A file that replaces it is
    another file, of which nothing is known.

    Parameters
    ----------
    clock
        Seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._files: OrderedDict[str, _FileDeaths] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, poison: Iterable[Poison]) -> None:
        """Take over what other workers have found out, but for what is older than what is known here."""
        with self._lock:
            for found in poison:
                known = self._known(found.file)
                if known is None or not known.knows_better_than(found.version):
                    self._deaths_of(found.file, found.version).condemn(found.version)

    def refusal(self, request: DiffractionRequest) -> Failure | None:
        """Return why a request isn't tried any more, or not now; None if it's tried."""
        found = self._find(request.file)
        if found is None:
            return None
        deaths, version = found
        poison = Poison(request.file, deaths.condemned)
        if deaths.is_condemned(version):
            return Failure(
                f"images of {request.file} end their DIALS process: none is tried again until the file is written anew",
                poison=poison,
            )
        if rest_s := deaths.rest_s:
            return Failure(
                f"images of {request.file} end their DIALS process, also since it was written anew: "
                f"the next one is tried in {rest_s:.0f} s",
                may_pass=True,
                poison=poison,
            )
        if request.image in deaths.images and deaths.images[request.image] == version:
            return Failure(f"{request.image} has ended its DIALS process: it isn't tried again until it is replaced")
        return None

    def has_just_killed(self, request: DiffractionRequest) -> bool:
        """Tell whether another image of the same file has ended its process, and none has done better since."""
        found = self._find(request.file)
        return found is not None and bool(found[0].in_a_row)

    def note_death(self, request: DiffractionRequest, how: str) -> Failure:
        """Remember that an image has ended its process, and is given up."""
        version = file_version(request.file)
        with self._lock:
            deaths = self._deaths_of(request.file, version)
            deaths.note(request.image, version)
            poison = Poison(request.file, version) if deaths.is_condemned(version) else None
        reason = f"the DIALS process died while it worked on {request.image}: {how}"
        return Failure(reason, ended_process=True, poison=poison)

    def note_life(self, request: DiffractionRequest) -> None:
        """Remember that a process has survived an image."""
        if found := self._find(request.file):
            deaths, version = found
            with self._lock:
                deaths.clear(version)

    def _find(self, file: str) -> tuple[_FileDeaths, FileVersion | None] | None:
        """Return what is known of the file that a path has now, and its version; None, as of most, if nothing is."""
        if file not in self._files:
            return None
        version = file_version(file)
        with self._lock:
            known = self._known(file)
        return None if known is None or known.is_of_another_file(version) else (known, version)

    def _known(self, file: str) -> _FileDeaths | None:
        known = self._files.get(file)
        return None if known is None or self._clock() - known.since > REMEMBERED_S else known

    def _deaths_of(self, file: str, version: FileVersion | None) -> _FileDeaths:
        """Return what is to be known of the file that a path has in a version."""
        known = self._known(file)
        if known is None or known.is_of_another_file(version):
            known = self._files[file] = _FileDeaths(version, self._clock)
            while len(self._files) > _REMEMBERED:
                self._files.popitem(last=False)
        return known


class DeathsInARow:
    """How many DIALS processes have ended one after another, whatever they were working on.

    Parameters
    ----------
    clock
        Seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget them: a process has met a request."""
        self._works: set[str | int] = set()
        self._rests = 0
        self._rest_ends = 0.0
        self.last = ""

    def note(self, failure: Failure, file: str | None = None) -> bool:
        """Remember that a process has ended, or didn't start; tell whether it's the first one too many.

        Parameters
        ----------
        file
            Which counts once; None: it isn't to blame.
        """
        self._works.add(file or len(self._works))
        self.last = failure.reason
        if not self.are_too_many or self.is_resting:  # what was still at work tells nothing new
            return False
        self._rests += 1
        self._rest_ends = self._clock() + REST.after(self._rests)
        return self._rests == 1

    @property
    def are_too_many(self) -> bool:
        """Whether DIALS or its machine must be at fault: at most one image at a time is tried."""
        return len(self._works) >= FILES_IN_A_ROW

    @property
    def is_resting(self) -> bool:
        """Whether not even one image is tried now."""
        return self.rest_s > 0

    @property
    def rest_s(self) -> float:
        """For how long no image is tried."""
        return max(0.0, self._rest_ends - self._clock())
