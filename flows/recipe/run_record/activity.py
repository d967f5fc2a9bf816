"""Whether a process has a recipe run, whether the run has ended, and whether anything is left to do in it."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from typing import Final

from blocks.errors import UnknownRecipeRun
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import read_journal
from flows.recipe.run_record.manifest import read_manifest
from flows.recipe.run_record.run_state import replay

PATIENCE_S: Final = 5.0
"""How long a run may be without a process before it's taken to be lost: it may be about to begin."""


def is_at_work(folder: RunFolder) -> bool:
    """Tell whether a process has the run."""
    try:
        journal = folder.journal.open("rb")  # who may read it may ask
    except FileNotFoundError:
        return False
    with journal:
        try:  # shared: those who ask don't hinder each other. A run that begins just now tries for its lock again
            fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def is_work_left(folder: RunFolder) -> bool:
    """Tell whether a run that is not at work has yet to come to its end, or messages wait for it since."""
    state = replay(read_journal(folder.journal))
    return not state.ended or bool(state.waiting) or folder.has_reinjected


class RunEnd:
    """Whether a run has ended: by its manifest, or because no process has it any more. Call it now and then.

    Parameters
    ----------
    patience_s
        How long no process may have a run that hasn't said that it ended.
    clock
        Seconds, from whenever.
    """

    def __init__(
        self, folder: RunFolder, patience_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._clock = folder, clock
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._last_at_work = clock()
        self.is_lost = False

    def __call__(self) -> bool:
        """Tell whether the run has ended, or was lost."""
        if is_at_work(self._folder):  # it may have ended before, and have been taken up again
            self._last_at_work = self._clock()
            return False
        if _says_ended(self._folder):
            return True
        self.is_lost = self._clock() - self._last_at_work >= self._patience_s
        return self.is_lost


def _says_ended(folder: RunFolder) -> bool:
    try:
        return read_manifest(folder).ended is not None
    except UnknownRecipeRun:  # cancelled before its recipe was filled, it has none
        return replay(read_journal(folder.journal, on_damage=lambda _: None)).ended is not None
    except ValueError:  # a damaged one says nothing; `plaza show` tells what is wrong with it
        return False
