"""The folder of all state, made closed to others; `flows.site.access.home_folder` opens it to a group."""

from pathlib import Path
from typing import Final

from blocks.settings import get_settings

TAKING_UP_LOCK: Final = "run/taking-up.lock"
"""In the home folder: who has a run start once more holds it; a second operator, too, who can't make it."""
RECIPE_RUNS: Final = "recipe-runs"
"""In the home folder: the records of recipe runs, a folder each."""
MIMAS_RUNS: Final = "mimas-runs"
"""In the home folder: what Mimas read and decided, a folder for each of its runs."""
HELD_JOBS: Final = "held-jobs"
"""In the home folder: jobs that wait for somebody to start them, a file each."""
RECIPE_IDS: Final = "recipe-ids"
"""In the home folder: which runs had a recipe ID of their own, a file each."""


def make_folder(folder: Path) -> None:
    """Make a folder and those above it unless they're there; the home folder, if it's one of them, closed to others."""
    home = get_settings().home
    if home == folder or home in folder.parents:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)  # those above it get the usual mode
    folder.mkdir(parents=True, exist_ok=True)
