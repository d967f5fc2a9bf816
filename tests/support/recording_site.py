"""The bridge on a real broker, in front of a site that only writes down what it's asked for.

    python -m tests.support.recording_site HOME URL

The site does as files in the home say: `away` (ISPyB doesn't answer), `full` (its disk is full), `killed-at-submit` and
`killed-at-ack` (the process dies as if killed, once).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blocks.broker_address import read_broker_url
from blocks.errors import DatabaseUnavailable
from blocks.settings import Settings
from flows.events.bridge.journal import Delivery, Journal
from flows.events.bridge.judging import BadMessage
from flows.events.bridge.service import serve_broker
from flows.events.bridge.state import Tally
from flows.events.request import RunRequest


class RecordingSite:
    """Judges by a request's words, and writes down what is submitted."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def is_told(self, what: str) -> bool:
        return (self.home / what).exists()

    async def judge(self, request: RunRequest, mark: str) -> None:
        if "unknown" in request.recipes:
            raise BadMessage("the recipe 'unknown' is unknown")
        if "odd" in request.recipes:
            raise LookupError("a fault that nobody expects")
        if "job" in request.recipes and self.is_told("away"):
            raise DatabaseUnavailable("ISPyB is away")

    async def submit(self, request: RunRequest, headers: Mapping[str, Any], mark: str) -> str:
        if self.is_told("full"):
            raise OSError(28, "No space left on device")
        with (self.home / "submitted.jsonl").open("a") as file:
            file.write(json.dumps([mark, request.recipes, request.parameters, headers]) + "\n")
        self.die_if_told("killed-at-submit")
        return "written down"

    def die_if_told(self, when: str) -> None:
        if self.is_told(when):
            (self.home / when).unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class MortalJournal(Journal):
    """A journal after whose entry the process may die."""

    def accept(self, delivery: Delivery) -> None:
        super().accept(delivery)
        RecordingSite(self.folder.parents[1]).die_if_told("killed-at-ack")


def submitted(home: Path) -> list[tuple[str, list[str], dict[str, Any], dict[str, Any]]]:
    """Return what was submitted: marks, recipes, parameters, headers."""
    try:
        return [tuple(json.loads(line)) for line in (home / "submitted.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        return []


async def serve(home: Path, url: str, stop: asyncio.Event) -> None:
    """Run the bridge until it's told to stop."""
    await serve_broker(read_broker_url(url), RecordingSite(home), Settings(home=home), Tally(home), stop)


async def _main(home: Path, url: str) -> None:
    import flows.events.bridge.service as service

    service.Journal = MortalJournal  # type: ignore[misc]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(home, url, stop)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
