"""Note the end of a run whose process was ended, as it was asked for, before it could do so itself."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

from msgspec import structs

from blocks.errors import RecipeRunBusy, UnknownRecipeRun
from flows.recipe.run_record.entries import Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.manifest import read_manifest
from flows.recipe.run_record.run_state import replay

logger = logging.getLogger(__name__)

ENDED_FROM_OUTSIDE: Final = ("Cancelled", "Suspended")


def note_end(folder: RunFolder, state: str, message: str) -> None:
    """Have the record of a run say how it was ended; what it said itself of its end stands.

    Nothing is noted of a run that never began, or that another process has by now. A record that can't be written
    is no reason to leave the run's state open: that is logged.
    """
    if not folder.path.is_dir():
        return
    ended = Ended(time.time(), state, message)
    try:
        with Journal(folder.journal) as journal:
            if replay(read_journal(folder.journal)).ended:
                return
            journal.record(ended)
            with suppress(UnknownRecipeRun):  # ended before its recipe was filled: the journal says so
                replace(read_manifest(folder), ended=structs.asdict(ended)).write(folder)
    except RecipeRunBusy:
        logger.info("recipe run %s was %s, but a process has it by now", folder.recipe_run, state)
    except (OSError, ValueError) as error:
        logger.error("the record of recipe run %s can't say that it was %s: %s", folder.recipe_run, state, error)
