"""A whole site as its users reach it: by commands, and by starting recipes at Prefect's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from blocks.settings import Settings
from flows.site.running_site import RunningSite, process_environment
from flows.site.services import running_site

TRIAL_STEPS = Path(__file__).parent / "trial_steps"


@dataclass(frozen=True)
class CommandedSite:
    """A running site, and what can be asked of it."""

    settings: Settings
    site: RunningSite

    def plaza(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line and return what it printed."""
        command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
        environment = process_environment(self.settings, self.site)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)

    def simulate(self, *words: str) -> int:
        """Have a data collection happen of which nobody is told, and return its dcid."""
        collected = self.plaza("simulate", *words, "--no-events", "--json")
        assert collected.returncode == 0, collected.stderr
        dcid: int = json.loads(collected.stdout.splitlines()[-1])["dcid"]
        return dcid

    def start(self, recipe: str, **parameters: Any) -> str:
        """Start a recipe and return the id of its run."""
        return asyncio.run(self._start(recipe, parameters))

    async def _start(self, recipe: str, parameters: dict[str, Any]) -> str:
        from prefect.client.orchestration import PrefectClient

        async with PrefectClient(self.site.api_url, auth_string=self.site.secret) as client:
            deployment = await client.read_deployment_by_name(f"{recipe}/live")
            run = await client.create_flow_run_from_deployment(deployment.id, parameters={"parameters": parameters})
            return str(run.id)

    def history(self, run: str) -> dict[str, Any]:
        """All that is known of a run; its state is empty before it begins."""
        shown = self.plaza("show", run, "--json")
        return json.loads(shown.stdout) if shown.returncode == 0 else {"state": ""}


AnySite = TypeVar("AnySite", bound=CommandedSite)


def recipe_settings(folder: Path, recipes: Mapping[str, Any], **more_settings: Any) -> Settings:
    """Return the settings of a site in a folder with these recipes, by name, which are written there."""
    recipe_directory = folder / "recipes"
    recipe_directory.mkdir()
    for name, document in recipes.items():
        (recipe_directory / f"{name}.json").write_text(json.dumps(document))
    return Settings(
        home=folder / "site",
        recipe_directory=recipe_directory,
        server_port=0,
        dask_port=0,
        analysis_workers=1,
        **more_settings,
    )


@contextmanager
def site_of_recipes(
    kind: type[AnySite], folder: Path, recipes: Mapping[str, Any], **more_settings: Any
) -> Iterator[AnySite]:
    """Have a site in a folder, with these recipes by name, which may use trial steps: they are no part of Plaza."""
    settings = recipe_settings(folder, recipes, **more_settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TRIAL_STEPS), prepend=os.pathsep)
        with running_site(settings) as site:
            yield kind(settings, site)


def await_(condition: Callable[[], Any], timeout_s: float = 120) -> Any:
    """Wait until a condition holds and return what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)
    return value
