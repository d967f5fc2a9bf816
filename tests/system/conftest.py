"""A whole site on this machine, as `plaza up` makes it, and the simulated beamline in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from blocks.settings import Settings
from flows.monitoring.following import WatchedRun, follow
from flows.recipe.run_record.folder import RunFolder
from flows.site.services import running_site
from tasks.simulation.collection import CollectionRecord
from tests.support.commanded_site import CommandedSite


class Beamline(CommandedSite):
    """The simulated beamline and what can be asked of the site behind it."""

    def collect(self, *words: str) -> list[CollectionRecord]:
        """Let data collections happen and return their records."""
        done = self.plaza("simulate", *words, "--json")
        assert done.returncode == 0, done.stderr
        return [CollectionRecord.model_validate_json(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def await_runs(self, since: datetime, records: list[CollectionRecord], decisions: int = 2) -> dict[str, WatchedRun]:
        """Wait until Mimas and all recipes of the data collections are done; return the runs by name."""
        return asyncio.run(self._await_runs(since, [record.dcid for record in records], decisions))

    async def _await_runs(self, since: datetime, dcids: list[int], decisions: int) -> dict[str, WatchedRun]:
        from prefect.client.orchestration import PrefectClient

        async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
            runs = await follow(
                client,
                since,
                dcids,
                events_expected=lambda: decisions * len(dcids),
                show=lambda _: None,
                timeout_s=240,
            )
        return {run.name: run for run in runs}

    def runs(self) -> list[RunFolder]:
        """The folders of all recipe runs."""
        return [RunFolder(path) for path in (self.settings.home / "recipe-runs").glob("*")]

    def artifacts(self, run: WatchedRun, key: str) -> list[Any]:
        """Return a run's artifacts of a key."""
        return asyncio.run(self._artifacts(run, key))

    async def _artifacts(self, run: WatchedRun, key: str) -> list[Any]:
        from prefect.client.orchestration import PrefectClient
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), key=ArtifactFilterKey(any_=[key]))
        async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
            return [artifact.data for artifact in await client.read_artifacts(artifact_filter=chosen)]


@pytest.fixture(scope="session")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beamline]:
    """A site of its own, stopped with the tests."""
    settings = Settings(home=tmp_path_factory.mktemp("site"), server_port=0, dask_port=0)
    with running_site(settings) as site:
        yield Beamline(settings, site)


@pytest.fixture
def since() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def written(beamline: Beamline) -> Callable[[CollectionRecord], Any]:
    """What ISPyB holds of a data collection's processing."""
    from blocks.site_ispyb import connect
    from tasks.ispyb_access.overviews.results import read_written_rows

    return lambda record: read_written_rows(connect(beamline.settings), record.dcid)
