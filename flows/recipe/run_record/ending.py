"""Note the end of a run whose process was ended, as it was asked for, before it could do so itself."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

from msgspec import structs

from blocks.errors import RecipeRunBusy, UnknownRecipeRun
from blocks.retrying import Pauses, retry_blocking
from flows.recipe.run_record.entries import Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.manifest import read_manifest
from flows.recipe.run_record.run_state import replay

logger = logging.getLogger(__name__)

CANCELLED: Final = ("Cancelled", "it was ended as asked for; `plaza resume` goes on with it")
SUSPENDED: Final = ("Suspended", "it waits to be resumed, at Prefect's or by `plaza resume`")

PATIENCE_S: Final = 3.0
_PAUSES: Final = Pauses(first_s=0.05, longest_s=0.5)


def note_end(folder: RunFolder, state: str, message: str) -> None:
    """Have the record of a run say how it was ended; what it said itself of its end stands.

    Nothing is noted of a run that never began, or that another process has by now. A record that can't be written
    is no reason to leave the run's state open: that is logged.
    """
    if not folder.path.is_dir():
        return
    ended = Ended(time.time(), state, message)
    try:
        # The last threads of a process that was killed let go of its journal a little later than it seems gone
        with retry_blocking(lambda: Journal(folder.journal), RecipeRunBusy, _PAUSES, patience_s=PATIENCE_S) as journal:
            if replay(read_journal(folder.journal)).ended:
                return
            journal.record(ended)
            with suppress(UnknownRecipeRun):  # ended before its recipe was filled: the journal says so
                replace(read_manifest(folder), ended=structs.asdict(ended)).write(folder)
    except RecipeRunBusy:
        logger.warning("recipe run %s was %s, but a process has it by now", folder.recipe_run, state)
    except (OSError, ValueError) as error:
        logger.error("the record of recipe run %s can't say that it was %s: %s", folder.recipe_run, state, error)


def end_from_outside(folder: RunFolder) -> Ended | None:
    """Return how a run was ended from outside, if it was: its log doesn't tell."""
    ended = replay(read_journal(folder.journal, on_damage=lambda _: None)).ended
    return ended if ended is not None and ended.state in {CANCELLED[0], SUSPENDED[0]} else None
