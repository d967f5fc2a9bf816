"""Flows for tests of the warm worker. They tell what happens to them in files."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from prefect import flow


@flow
async def note_start(diary: str) -> None:
    """Note the time of the first line, and who runs it."""
    Path(diary).write_text(f"{time.time()} {os.getpid()} {os.getppid()}")


def _note(word: str) -> Any:
    def hook(flow: Any, flow_run: Any, state: Any) -> None:
        diary = Path(flow_run.parameters["diary"])
        diary.with_suffix(f".{word}").write_text(state.name)

    hook.__name__ = word
    return hook


@flow(on_crashed=[_note("crashed")], on_cancellation=[_note("cancelled")])
async def linger(diary: str, seconds: float = 120.0) -> None:
    """Note this process's id, print something, then stay."""
    print("lingering, said the flow", flush=True)  # noqa: T201
    Path(diary).write_text(str(os.getpid()))
    await asyncio.sleep(seconds)


@flow(name="mimas")
async def note_event(dcid: int, event: str) -> None:
    """Stand for Mimas: what counts is which runs of it there are, and in which order."""


@flow
async def decide(dcid: int, diary: str) -> None:
    """Compute for a moment, as Mimas does, then note when that began and ended."""
    begun = time.time()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        hash(dcid)
    Path(diary).write_text(f"{begun} {time.time()}")
