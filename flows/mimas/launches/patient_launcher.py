"""Launch runs one by one through outages of Prefect's API: an outage is that of one launch and loses no other."""

from __future__ import annotations

from collections.abc import Iterable

from blocks.errors import PrefectUnavailable
from flows import prefect_outages
from flows.prefect_outages import through_outages
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe, Launcher


class PatientLauncher:
    """Launches runs, and again while Prefect's API is away; once that has taken too long, each is tried once only.

    Parameters
    ----------
    launcher
        What launches them.
    patience_s
        How long an outage is waited for, in seconds; as `flows.prefect_outages` says unless it's given.
    """

    def __init__(self, launcher: Launcher, patience_s: float | None = None) -> None:
        self._launcher = launcher
        self._patience_s = prefect_outages.PATIENCE_S if patience_s is None else patience_s

    async def installed(self, recipes: Iterable[str]) -> set[str]:
        """Return those of the recipes that can be launched here.

        Raises
        ------
        PrefectUnavailable
            Prefect's API is still away.
        """
        names = [*recipes]
        return await through_outages(
            "asking which recipes are installed", lambda: self._launcher.installed(names), self._patience_s
        )

    async def launch(self, launch: Launch) -> LaunchedRecipe | FailedLaunch:
        """Launch a run; with Prefect's API still away it's a failed launch, as one that is refused."""

        async def launch_it() -> LaunchedRecipe | FailedLaunch:
            (launched,) = await self._launcher.launch([launch])
            return launched

        try:  # tried again it does no harm: a run that was created before the answer was lost is found by its key
            return await through_outages(f"launching {launch.recipe}", launch_it, self._patience_s)
        except PrefectUnavailable as error:
            self._patience_s = 0
            return FailedLaunch(recipe=launch.recipe, reason=f"{type(error).__name__}: {error}")
