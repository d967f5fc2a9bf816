"""The demo: a beamline collects, Mimas decides, recipes run, DIALS analyses, ISPyB keeps, and one looks on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from blocks.identifiers import Dcid
from blocks.settings import Settings
from flows.demo.display import Display
from flows.demo.gda import ControlComputer, listen
from flows.demo.plans import PlannedCollection, real_collections, synthetic_collections
from flows.site.running_site import RunningSite, use_running_site
from flows.site.services import down, running_site, up
from tasks.simulation.collection import CollectionRecord
from tasks.simulation.visit import Visit

if TYPE_CHECKING:
    from flows.monitoring.following import WatchedRun

First = TypeVar("First")
Second = TypeVar("Second")

PATIENCE_S = 120.0  # without any change on Prefect's server


@dataclass(frozen=True)
class DemoOptions:
    """How the demo is run.

    Parameters
    ----------
    keep
        Leave everything running at the end.
    images
        Folder of real images to collect instead of synthetic ones.
    beamline
        Where real images are collected.
    rate_hz
        Images a second.
    """

    keep: bool = False
    images: Path | None = None
    beamline: str = "i24"
    rate_hz: float = 10.0


async def demonstrate(console: Console, settings: Settings, options: DemoOptions) -> bool:
    """Run the demo and return whether every run completed."""
    transport, gda = await listen()
    settings = _demo_settings(settings, gda)
    with ExitStack() as stack, _report_interruption(console, options):
        stack.callback(transport.close)
        console.print("[bold]Plaza[/bold]: starting Prefect's server, a worker and the analysis cluster …")
        # in a thread: both wait for processes, and the control computer shall go on listening
        site = await asyncio.to_thread(up, settings) if options.keep else await _enter(stack, settings)
        use_running_site(settings)
        console.print(f"Prefect's UI: {site.login_link}", highlight=False, soft_wrap=True)
        started = datetime.now(UTC)
        planned = await _planned(console, settings, options)
        with Display(console) as display:
            records, runs = await _collect_and_follow(planned, settings, options, display, started)
        from flows.demo.summary import summarise

        completed = await summarise(console, settings, records, runs, gda)
        console.print(_closing_line(site, options), highlight=False, soft_wrap=True)
    return completed


@contextmanager
def _report_interruption(console: Console, options: DemoOptions) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        console.print(
            "Interrupted: " + ("stop the rest with ./plaza down" if options.keep else "stopping everything …")
        )
        raise


async def _enter(stack: ExitStack, settings: Settings) -> RunningSite:
    site = running_site(settings)
    try:
        entered = await asyncio.to_thread(site.__enter__)
    except asyncio.CancelledError:
        down(settings)  # or the thread would go on until everything is up
        raise
    stack.push(site)
    return entered


def _demo_settings(settings: Settings, gda: ControlComputer) -> Settings:
    """Take free ports unless some were asked for, and the demo's own control computer."""
    # A site of the user's may run beside it; and nobody's control computer shall hear of a demo
    free = {name: 0 for name in ("server_port", "dask_port") if name not in settings.model_fields_set}
    return settings.model_copy(update={**free, "gda_host": "127.0.0.1", "gda_port": gda.port})


async def _planned(console: Console, settings: Settings, options: DemoOptions) -> list[PlannedCollection]:
    if options.images is not None:
        return list(await real_collections(options.images, options.beamline))
    with console.status("rendering a synthetic crystal's images") if console.is_terminal else nullcontext():
        return list(await synthetic_collections(settings.home / "simulated"))


async def _collect_and_follow(
    planned: list[PlannedCollection], settings: Settings, options: DemoOptions, display: Display, started: datetime
) -> tuple[list[CollectionRecord], tuple[WatchedRun, ...]]:
    from prefect.client.orchestration import get_client

    from flows.monitoring.following import follow

    dcids: list[Dcid] = []
    collected = asyncio.Event()

    async def collect_all_planned() -> list[CollectionRecord]:
        records = [await _collect(collection, settings, options, display, dcids) for collection in planned]
        collected.set()
        return records

    async with get_client() as client:
        following = follow(
            client,
            started,
            dcids,
            events_expected=lambda: 2 * len(planned) if collected.is_set() else 0,
            show=display.runs,
            timeout_s=PATIENCE_S,
        )
        return await both(collect_all_planned(), following)


async def both(first: Coroutine[Any, Any, First], second: Coroutine[Any, Any, Second]) -> tuple[First, Second]:
    """Wait for two things that go on together; the first that fails ends the other and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(first), group.create_task(second)
    except ExceptionGroup as failures:  # a group's traceback would hide what went wrong from a first user
        raise failures.exceptions[0] from None
    return tasks[0].result(), tasks[1].result()


async def _collect(
    planned: PlannedCollection, settings: Settings, options: DemoOptions, display: Display, dcids: list[Dcid]
) -> CollectionRecord:
    from flows.demo.simulated_beamline import collect_all
    from flows.events.telling_mimas import tell_mimas

    sweep = planned.sweep
    visit = Visit.simulated(planned.beamline, settings.home / "data")
    taken = 0

    def begin(_: object, dcid: Dcid, folder: Path) -> None:
        dcids.append(dcid)
        display.print_line(
            f"{planned.beamline}: data collection {dcid}, {sweep.kind.value} of {sweep.images} images in {folder}"
        )

    def image(number: int, at: float) -> None:
        nonlocal taken
        taken += 1
        display.images_taken(taken, sweep.images, f"{sweep.kind.value} on {planned.beamline}")

    async for record in collect_all(
        [sweep], visit, settings, tell_mimas, rate_hz=options.rate_hz, on_begin=begin, on_image=image
    ):
        return record
    raise AssertionError("a sweep that was collected has a record")


def _closing_line(site: RunningSite, options: DemoOptions) -> str:
    if options.keep:
        return f"Everything goes on: look around at {site.login_link}, stop it with ./plaza down"
    return f"Stopping everything; ./plaza demo --keep leaves it running, to look around at {site.login_link}"
