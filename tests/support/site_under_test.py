"""What tests of the runtime do to a running site."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from blocks.settings import Settings
from flows.site.access.secret import authorization
from flows.site.running_site import RunningSite

RUNTIME_SITE = Path(__file__).parent / "runtime_site"
"""Flows and deployments that only tests use."""


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 120, pause: float = 0.02) -> Any:
    """Wait until a condition holds and return its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(pause)
    return value


@dataclass
class SiteUnderTest:
    """A running site and a small client of its API, which leaves this process's Prefect alone."""

    settings: Settings
    site: RunningSite
    diaries: Path
    _deployments: dict[str, str] = field(default_factory=dict)

    def api(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": authorization(self.site.secret)}
        request = urllib.request.Request(f"{self.site.api_url}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request) as response:
            content = response.read()
            return json.loads(content) if content else None

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a run and return its id."""
        if deployment not in self._deployments:
            self._deployments[deployment] = self.api(f"deployments/name/{deployment}")["id"]
        path = f"deployments/{self._deployments[deployment]}/create_flow_run"
        return str(self.api(path, {"parameters": parameters, "state": {"type": "SCHEDULED"}})["id"])

    def state(self, run: str) -> str:
        return str(self.api(f"flow_runs/{run}")["state"]["name"])

    def created(self, run: str) -> float:
        """Return when a run was asked for, in seconds since the epoch."""
        return datetime.fromisoformat(self.api(f"flow_runs/{run}")["created"]).timestamp()

    def wait_for_state(self, run: str, state: str, timeout: float = 120) -> None:
        wait_for(lambda: self.state(run) == state, f"{run} {state}, seen {self.state(run)}", timeout)

    def linger(self, name: str) -> tuple[str, int, Path]:
        """Start a run that stays, and return its id, its process and its diary when it's there."""
        diary = self.diaries / name
        run = self.start("linger/trial", diary=str(diary))
        pid = int(wait_for(lambda: diary.exists() and diary.read_text(), "the flow's first line"))
        self.wait_for_state(run, "Running")
        return run, pid, diary
