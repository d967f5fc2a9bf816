"""Resources that stand for a site's: what steps ask of the world is recorded, and answered as the test says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NoReturn
from uuid import UUID, uuid5

from blocks.errors import PrefectUnavailable
from blocks.settings import Settings, get_settings
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe, MailTransport

RUNS = UUID(int=0)


class FakeLauncher:
    """Launches nothing, and keeps what it was asked for.

    Parameters
    ----------
    recipes
        Those that are installed.
    broken
        Recipes that are refused, each with the reason.
    outages
        Recipes at whose launch Prefect's API is away, each with how often; `INSTALLED`: when it's asked what is there.
    """

    INSTALLED = ""

    def __init__(
        self,
        recipes: Collection[str] = (),
        broken: Mapping[str, str] | None = None,
        outages: Mapping[str, int] | None = None,
    ) -> None:
        self.recipes, self.broken = set(recipes), dict(broken or {})
        self.outages = Counter(outages or {})
        self.launched: list[Launch] = []

    async def installed(self, recipes: Iterable[str]) -> set[str]:
        self._be_away_at(self.INSTALLED)
        return self.recipes & set(recipes)

    async def launch(self, launches: Sequence[Launch]) -> Sequence[LaunchedRecipe | FailedLaunch]:
        return [self._launch(launch) for launch in launches]

    def _launch(self, launch: Launch) -> LaunchedRecipe | FailedLaunch:
        self._be_away_at(launch.recipe)
        if launch.recipe in self.broken:
            return FailedLaunch(recipe=launch.recipe, reason=self.broken[launch.recipe])
        if launch.recipe not in self.recipes:
            return FailedLaunch(recipe=launch.recipe, reason="it isn't deployed")
        earlier = (launch.recipe, launch.key) in {(before.recipe, before.key) for before in self.launched}
        if not earlier:
            self.launched.append(launch)
        run = uuid5(RUNS, f"{launch.recipe}/{launch.key}")
        return LaunchedRecipe(recipe=launch.recipe, flow_run_id=run, earlier=earlier)

    def _be_away_at(self, what: str) -> None:
        if self.outages[what]:
            self.outages[what] -= 1
            raise PrefectUnavailable("Prefect's API can't be reached")


class FakeResources:
    """Resources of a site that has only what the test gives it: neither ISPyB nor an analysis cluster nor a network."""

    def __init__(
        self,
        settings: Settings | None = None,
        launcher: FakeLauncher | None = None,
        mail_server: MailTransport | None = None,
    ) -> None:
        self.settings = settings or get_settings()
        self.launcher = launcher or FakeLauncher()
        self._mail_server = mail_server

    def mail_server(self) -> MailTransport | None:
        return self._mail_server

    async def analysis_client(self, instead_of: object = None) -> NoReturn:
        raise AssertionError("this test has no analysis cluster")

    @property
    def ispyb(self) -> NoReturn:
        raise AssertionError("this test has no ISPyB")

    @property
    def ispyb_writer(self) -> NoReturn:
        raise AssertionError("this test has no ISPyB")

    @property
    def cluster(self) -> NoReturn:
        raise AssertionError("this test has no cluster")
