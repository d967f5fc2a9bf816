"""Measure how soon a flow runs: a site of its own, one run after another, from asking for it to its first line.

    .venv/bin/python -m tests.benchmarks.start_latency [--runs 15]

Prints the time that the site takes to come up, first with a database to make and then with one that's there, median
and maximum of the latency, and the CPU time of each service per run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from blocks.settings import Settings
from flows.site.health.site_status import status
from flows.site.running_site import SERVICE_MARK
from flows.site.services import down, running_site, up
from tests.support.site_under_test import RUNTIME_SITE, SiteUnderTest, wait_for

FILES = {"deployments": RUNTIME_SITE, "modules": ["runtime_flows"]}
_IDLE_S = 10


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _cpu_s(site: SiteUnderTest) -> dict[str, float]:
    """CPU seconds of each service so far, its ended children included."""
    used: dict[str, float] = {}
    for service in status(site.settings).services:
        tree = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
        used[service.name] = sum(sum(process.cpu_times()[:4]) for process in tree)
    return used


def _measure(site: SiteUnderTest, runs: int) -> None:
    latencies = []
    for number in range(runs + 1):
        if number == 1:  # the first run warms caches
            before = _cpu_s(site)
        diary = site.diaries / str(number)
        asked = time.time()
        run = site.start("note-start/trial", diary=str(diary))
        wait_for(diary.exists, "the first line")
        wait_for(lambda: site.state(run) == "Completed", "the end", pause=0.3)  # noqa: B023  # asking costs the server
        if number:
            latencies.append(float(diary.read_text().split()[0]) - asked)
    after = _cpu_s(site)
    time.sleep(_IDLE_S)
    idle = _cpu_s(site)
    _say(f"first line after {statistics.median(latencies):.2f} s (median of {runs}), at most {max(latencies):.2f} s")
    for name in after:
        rest = (idle[name] - after[name]) / _IDLE_S
        _say(f"CPU time of {name}: {(after[name] - before[name]) / runs:.2f} s per run; {rest:.0%} of a core idle")


def main(runs: int) -> None:
    """Bring a site up twice and measure."""
    assert SERVICE_MARK not in os.environ
    os.environ["PYTHONPATH"] = str(RUNTIME_SITE)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            home=Path(folder) / "home", recipe_directory=Path(folder), server_port=0, dask_scheduler="tcp://127.0.0.1:1"
        )
        started = time.monotonic()
        up(settings, **FILES)
        _say(f"up after {time.monotonic() - started:.1f} s with a new database")
        started = time.monotonic()
        down(settings)
        _say(f"down after {time.monotonic() - started:.1f} s")
        started = time.monotonic()
        with running_site(settings, **FILES) as site:
            _say(f"up after {time.monotonic() - started:.1f} s; load {os.getloadavg()[0]:.1f}")
            _measure(SiteUnderTest(settings, site, Path(folder)), runs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=15)
    main(parser.parse_args().runs)
