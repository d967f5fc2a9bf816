"""What is remembered of images that end their DIALS process, so that a bad file or a bad DIALS costs few processes.

A process that dies takes seconds to be replaced; a master has thousands of images. Each Dask worker remembers which
files have killed (`PoisonRecord`), each step with images to analyse how many files have in a row (`DeathsInARow`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from blocks.retrying import Pauses
from tasks.diffraction.requests import DiffractionRequest, Failure, FileVersion

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

REST: Final = Pauses(first_s=5.0, longest_s=120.0)  # then one image is tried
_REMEMBERED = 1000  # files, of each worker


def version_of(file: str) -> FileVersion:
    """Return what differs once a file is replaced or written to; zeros while it isn't seen."""
    try:
        status = os.stat(file)  # noqa: PTH116 - once an image of a file that has killed
    except (OSError, ValueError):
        return FileVersion(file, 0, 0, 0)
    return FileVersion(file, status.st_ino, status.st_mtime_ns, status.st_size)


@dataclass
class _FileDeaths:
    """What a file has done: the images that have ended their process, those of them with no success since, verdict."""

    version: FileVersion
    images: set[str] = field(default_factory=set)
    in_a_row: set[str] = field(default_factory=set)
    is_poison: bool = False
    since: float = field(default_factory=time.monotonic)

    def judge(self) -> None:
        if len(self.in_a_row) >= IMAGES_IN_A_ROW or len(self.images) >= IMAGES_IN_ALL:
            self.is_poison = True


class PoisonRecord:
    """Files whose images have ended DIALS processes, as long as they are the same version."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, _FileDeaths] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, poison: Iterable[FileVersion]) -> None:
        """Take over what other workers have found out."""
        with self._lock:
            for version in poison:
                self._deaths_of(version).is_poison = True

    def refusal(self, request: DiffractionRequest) -> Failure | None:
        """Return why a request isn't tried any more; None if it is."""
        deaths = self._find(request)
        if deaths is None:
            return None
        if deaths.is_poison:
            return Failure(
                f"images of {request.file} end their DIALS process: none is tried again until the file is written anew",
                poison=deaths.version,
            )
        if request.image in deaths.images:
            return Failure(f"{request.image} has ended its DIALS process: it isn't tried again until it is replaced")
        return None

    def has_just_killed(self, request: DiffractionRequest) -> bool:
        """Tell whether another image of the same file has ended its process, and none has done better since."""
        deaths = self._find(request)
        return deaths is not None and bool(deaths.in_a_row)

    def note_death(self, request: DiffractionRequest, how: str) -> Failure:
        """Remember that an image has ended its process, and is given up."""
        version = version_of(request.file)
        with self._lock:
            deaths = self._deaths_of(version)
            deaths.images.add(request.image)
            deaths.in_a_row.add(request.image)
            deaths.judge()
        reason = f"the DIALS process died while it worked on {request.file}: {how}"
        return Failure(reason, ended_process=True, poison=version if deaths.is_poison else None)

    def note_life(self, request: DiffractionRequest) -> None:
        """Remember that a process has survived an image."""
        if request.file in self._files and (deaths := self._find(request)):
            deaths.in_a_row.clear()

    def _find(self, request: DiffractionRequest) -> _FileDeaths | None:
        with self._lock:
            deaths = self._files.get(request.file)
        if deaths is None or time.monotonic() - deaths.since > REMEMBERED_S:
            return None
        return deaths if deaths.version == version_of(request.file) else None

    def _deaths_of(self, version: FileVersion) -> _FileDeaths:
        known = self._files.get(version.file)
        if known is None or known.version != version or time.monotonic() - known.since > REMEMBERED_S:
            known = self._files[version.file] = _FileDeaths(version)
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
        self.last: Failure | None = None

    def note(self, failure: Failure, file: str | None = None) -> bool:
        """Remember that a process has ended, or didn't start; tell whether it's the first one too many.

        Parameters
        ----------
        file
            Which counts once; None: it isn't to blame.
        """
        self._works.add(file or len(self._works))
        self.last = failure
        if not self.are_too_many:
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
        return self.are_too_many and self._clock() < self._rest_ends
