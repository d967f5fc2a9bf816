"""A flood: many events of one beamline at once, and one of another beamline in the middle of them.

    python -m tests.benchmarks.event_flood [--events 200] [--to-the-end]

Prints when the other beamline's run of Mimas had decided, what became of the events, and what it took.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from blocks.settings import Settings
from flows.site.access.secret import authorization
from flows.site.health.site_status import status
from flows.site.running_site import read_running_site
from tasks.simulation.collection import render
from tasks.simulation.plan import CollectionPlan
from tasks.simulation.visit import Visit
from tests.benchmarks.bench_site import bench_site, load, now

FLOODING, OTHER, ALONE, LATER = "i03", "i04", "i24", "i23"
_FAULTS = re.compile(r"QueuePool|TimeoutError|TooManyConnections|Traceback", re.IGNORECASE)


@dataclass
class _Peak:
    """The most runs' processes at once, and the most memory of them together (unique, MiB)."""

    runs: int = 0
    memory: float = 0.0


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200, help="of the beamline that floods")
    parser.add_argument("--images", type=int, default=4, help="of each data collection")
    parser.add_argument("--event", choices=["start", "end"], default="start")
    parser.add_argument("--missing", action="store_true", help="the images don't come: recipe runs wait")
    parser.add_argument("--to-the-end", action="store_true", help="wait until everything has run")
    arguments = parser.parse_args()
    with bench_site() as settings:
        dcids = _collections(settings, arguments)
        asyncio.run(_flood(settings, arguments, dcids))


def _collections(settings: Settings, arguments: argparse.Namespace) -> list[int]:
    """Write the rows of all data collections, the other beamline's in the middle, and return their dcids.

    The last two are other beamlines': one's event comes alone, the other's when all of the flood has been accepted.
    """
    from blocks.site_ispyb import connect
    from tasks.ispyb_access.schema.tables import create_schema
    from tasks.simulation import ispyb_rows

    sweep = asyncio.run(render(CollectionPlan.rotation(images=arguments.images), settings.home / "images"))
    folder = settings.home / "no-images" if arguments.missing else sweep.folder
    engine = connect(settings)
    create_schema(engine)
    beamlines = [FLOODING] * arguments.events
    beamlines.insert(len(beamlines) // 2, OTHER)
    beamlines += [ALONE, LATER]
    visits = {name: Visit.simulated(name, settings.home / "data") for name in (FLOODING, OTHER, ALONE, LATER)}
    return [ispyb_rows.begin_collection(engine, sweep, visits[name], folder)[0] for name in beamlines]


async def _flood(settings: Settings, arguments: argparse.Namespace, dcids: list[int]) -> None:
    site = read_running_site(settings)
    before = _cpu_seconds(settings)
    async with httpx.AsyncClient(
        base_url=f"{site.api_url}/",
        headers={"Authorization": authorization(site.secret or "")},
        timeout=300,
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    ) as api:
        deployment = (await api.get(f"deployments/name/mimas/{arguments.event}")).json()["id"]

        async def create(dcid: int) -> tuple[int, str]:
            name = f"mimas {arguments.event} · dcid {dcid}"
            body = {"parameters": {"dcid": dcid}, "name": name, "state": {"type": "SCHEDULED"}}
            answer = await api.post(f"deployments/{deployment}/create_flow_run", json=body)
            return answer.status_code, answer.json().get("id", "")

        *dcids, alone, later = dcids
        for _ in range(2):  # the first run warms caches
            run = await _await_end(api, (await create(alone))[1])
            took = _seconds(run["end_time"]) - _seconds(run["created"])
        _say(f"an event alone is decided on {took:.1f} s after its creation; load {load()}")
        begun = now()
        peak = _Peak()
        watching = asyncio.create_task(_watch(settings.home, peak))
        creating = [asyncio.create_task(create(dcid)) for dcid in dcids]
        _, other = await creating[arguments.events // 2]
        at_creation = _cpu_seconds(settings)
        _say(f"load {load()}; the other beamline's event was accepted after {now() - begun:.1f} s")
        decided = asyncio.create_task(_await_end(api, other))
        answers = Counter(code for code, _ in await asyncio.gather(*creating))
        _say(f"all events were answered after {now() - begun:.1f} s: {dict(answers)}")
        run = await decided
        created, started, ended = (_seconds(run[name]) for name in ("created", "start_time", "end_time"))
        _say(
            f"the other beamline's Mimas: {run['state']['name']}, created at {created - begun:.1f} s, began "
            f"{started - created:.1f} s and had decided {ended - created:.1f} s after that"
        )
        run = await _await_end(api, (await create(later))[1])
        took = _seconds(run["end_time"]) - _seconds(run["created"])
        _say(f"another beamline's, sent after all of these, was decided on {took:.1f} s after its creation")
        used = _cpu_seconds(settings)
        meanwhile = ", ".join(f"{name} {used[name] - at_creation[name]:.1f}" for name in used)
        _say(f"CPU seconds since the other's creation, of which the server has one a second at most: {meanwhile}")
        if arguments.to_the_end:
            await _await_all(api, peak)
            _say(f"everything had run after {now() - begun:.0f} s")
        await _report(api, begun)
        watching.cancel()
    _say(f"at most {peak.runs} runs' processes at once, {peak.memory:.0f} MiB together (unique)")
    after = _cpu_seconds(settings)
    _say("CPU seconds: " + ", ".join(f"{name} {after[name] - before[name]:.0f}" for name in after))
    for name in ("server", "worker"):
        lines = (settings.home / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
        faults = [line for line in lines if _FAULTS.search(line)]
        _say(f"{name}.log: {len(lines)} lines, {len(faults)} of faults" + (f", e.g. {faults[-1]}" if faults else ""))
    _say(f"load {load()}")


async def _await_end(api: httpx.AsyncClient, run_id: str) -> Any:
    while True:
        answer = await api.get(f"flow_runs/{run_id}")
        if answer.status_code == 200 and answer.json()["end_time"]:
            return answer.json()
        await asyncio.sleep(0.5)  # seldom: each question costs the server what is measured here


async def _await_all(api: httpx.AsyncClient, peak: _Peak) -> None:
    states = {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}
    while True:
        due = {"before_": datetime.now(UTC).isoformat()}  # not those that a schedule will start
        unfinished = {"flow_runs": {"state": states, "expected_start_time": due}}
        if not (await api.post("flow_runs/count", json=unfinished)).json():
            return
        await asyncio.sleep(3)


async def _report(api: httpx.AsyncClient, begun: float) -> None:
    """Say what became of all runs, and how long those of Mimas took."""
    runs: list[Any] = []
    while page := (await api.post("flow_runs/filter", json={"offset": len(runs), "sort": "ID_DESC"})).json():
        runs += page
    runs = [run for run in runs if "dcid" in run["parameters"]]  # not those of a schedule
    for kind, chosen in (
        ("Mimas", [run for run in runs if run["name"].startswith("mimas")]),
        ("recipes", [run for run in runs if not run["name"].startswith("mimas")]),
    ):
        states = Counter(run["state_name"] for run in chosen)
        ends = [_seconds(run["end_time"]) - begun for run in chosen if run["end_time"]]
        middle = f"; median end at {statistics.median(ends):.0f} s, last {max(ends):.0f} s" if ends else ""
        _say(f"{kind}: {len(chosen)} runs: {dict(states)}{middle}")


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


async def _watch(home: Path, peak: _Peak) -> None:
    """Keep the most processes of runs; their memory is looked at now and then only."""
    while True:
        runs = [process for process in psutil.process_iter(["cmdline"]) if _is_run(process, home)]
        if len(runs) > peak.runs:
            peak.runs = len(runs)
            peak.memory = await asyncio.to_thread(_memory, runs)
        await asyncio.sleep(3)


def _is_run(process: psutil.Process, home: Path) -> bool:
    title = " ".join(process.info["cmdline"] or [])
    if not (title.startswith("plaza: ") and " / " in title):
        return False
    try:
        return Path(f"/proc/{process.pid}/cwd").exists() and process.environ().get("PLAZA_HOME") == str(home)
    except psutil.Error:
        return False


def _memory(processes: list[psutil.Process]) -> float:
    used = 0
    for process in processes:
        try:
            used += process.memory_full_info().uss
        except psutil.Error:
            continue
    return used / 2**20


def _cpu_seconds(settings: Settings) -> dict[str, float]:
    """CPU seconds of each service so far, its ended children included."""
    used: dict[str, float] = {}
    for service in status(settings).services:
        tree = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
        used[service.name] = 0.0
        for process in tree:
            try:
                used[service.name] += sum(process.cpu_times()[:4])
            except psutil.Error:
                continue
    return used


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    assert "PLAZA_SERVICE_OF" not in os.environ
    main()
