"""What is remembered of DIALS processes that died at Plaza's own way of finding spots, where DIALS then survived.

Such an image costs a process, seconds, and is DIALS's. If all images were like that, a run would do little else than
start processes: after some of them DIALS does all images, for a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tasks.diffraction.requests import DiffractionOutcome, DiffractionRequest, ImageAnalysis, ImageRequest, Success

IN_A_ROW: Final = 3
"""Images at which a process died, with none in between that Plaza's own way has done."""

IN_ALL: Final = 20
"""However many it has done."""

DISTRUSTED_S: Final = 3600.0
"""From the first of them, after which nothing is held against it: the machine may have been at fault."""

DIED: Final = "its process died by Plaza's own way"
DIED_OFTEN: Final = "processes have died by Plaza's own way, one after another"


def may_be_own_way(request: DiffractionRequest) -> bool:
    """Tell whether Plaza's own way is tried at a request, and DIALS alone might do otherwise."""
    return isinstance(request, ImageRequest) and request.by_dials is None


def by_dials_alone(request: DiffractionRequest, reason: str) -> DiffractionRequest:
    """Return a request as one that is DIALS's, if Plaza's own way may be tried at it."""
    return replace(request, by_dials=reason, check=False) if isinstance(request, ImageRequest) else request


def died_by_own_way(request: DiffractionRequest) -> bool:
    """Tell whether a request is DIALS's since a process died at it by Plaza's own way."""
    return isinstance(request, ImageRequest) and request.by_dials == DIED


class OwnWayDeaths:
    """Counts, for one worker, the images at which processes died by Plaza's own way only.

    Parameters
    ----------
    clock
        Seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = -float("inf")
        self._in_a_row = self._in_all = 0

    @property
    def are_too_many(self) -> bool:
        """Whether DIALS is to do all images."""
        too_many = self._in_a_row >= IN_A_ROW or self._in_all >= IN_ALL
        return too_many and self._clock() - self._since < DISTRUSTED_S

    def note(self, request: DiffractionRequest, outcome: DiffractionOutcome) -> None:
        """Take in that a process has survived a request."""
        if not isinstance(outcome, Success) or not isinstance(outcome.value, ImageAnalysis):
            return
        if outcome.value.by_dials is None:
            self._in_a_row = 0
        elif died_by_own_way(request):
            with self._lock:
                self._note_death()

    def _note_death(self) -> None:
        now = self._clock()
        if now - self._since >= DISTRUSTED_S:
            self._since, self._in_a_row, self._in_all = now, 0, 0
        self._in_a_row += 1
        self._in_all += 1
