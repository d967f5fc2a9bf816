"""Launch one run, so that an outage of Prefect's API is that of one launch and loses no other's outcome."""

from __future__ import annotations

from blocks.errors import PrefectUnavailable
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe, Launcher


async def launch_one(launcher: Launcher, launch: Launch) -> LaunchedRecipe | FailedLaunch:
    """Launch a run; with Prefect's API away it's a failed launch, as one that is refused."""
    try:
        (launched,) = await launcher.launch([launch])
    except PrefectUnavailable as error:
        return FailedLaunch(recipe=launch.recipe, reason=f"{type(error).__name__}: {error}")
    return launched
