"""Kill each part of a site while a grid scan is collected, and see how the scan comes to be analysed all the same.

python -m tests.benchmarks.kills [--only PART …] [--home FOLDER]

Each row: within which time it's seen (`plaza status` says so, or Prefect calls a run failed), what it took to recover
(nothing, `plaza up`, `plaza resume`, the event once more), how long that took, and whether the rows in ISPyB are right:
each image analysed exactly once, one centring. With MariaDB as ISPyB (PLAZA_ISPYB_URL from deployments/dev-cluster
env), name its process by --mariadb PID to have it killed too; `deployments/dev-cluster up mariadb` starts it again.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from blocks.errors import PlazaError
from blocks.settings import Settings
from blocks.site_ispyb import connect
from flows.recipe.run_record.folder import RunFolder
from flows.site import health
from flows.site.api_client import ask_api
from flows.site.processes import site_processes
from flows.site.running_site import read_running_site, site_file
from flows.site.services import down, up
from flows.warm_pool.run_processes import SERVER_TITLE, find_run_processes, run_title
from tests.support.checkout import CHECKOUT

IMAGES = 20
PATIENCE_S = 30.0
POLL_S = 0.2
WORDS = ("grid", "--grid", "5x4", "--centre", "2.5,2.0", "--beamline", "i24", "--rate", "1")
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


Kill = Callable[["Site"], float]
"""Kills a part of a site, and returns when that was."""


@dataclass
class Outcome:
    """What a kill led to; times in seconds since the kill."""

    seen_s: float | None = None
    recovered_s: float | None = None
    by: str = ""
    rows: str = ""


class Site:
    """A site that is killed in parts."""

    def __init__(self, settings: Settings, mariadb: int | None) -> None:
        self.settings, self.mariadb = settings, mariadb
        self._collections = 0

    def plaza(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command of the command line; what it prints goes to a file."""
        environment = {**os.environ, "PLAZA_HOME": str(self.settings.home), "PYTHONPATH": str(CHECKOUT)}
        environment |= {"PLAZA_SERVER_PORT": "0", "PLAZA_DASK_PORT": "0", "PLAZA_ANALYSIS_WORKERS": "1"}
        command = [sys.executable, "-c", "from flows.cli import main; main()", *words]
        return subprocess.Popen(command, env=environment, text=True, cwd=CHECKOUT, **options)

    def run(self, *words: str) -> int:
        """Run a command and return its exit status."""
        try:
            return self.plaza(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(240)
        except subprocess.TimeoutExpired:
            return -1

    def collect(self) -> Collection:
        """Begin a data collection, and return it as soon as it has its id."""
        self._collections += 1
        said = self.settings.home / f"collection-{self._collections}.txt"
        with said.open("w") as output:
            process = self.plaza("simulate", *WORDS, stdout=output, stderr=output)
        dcid = wait_for(lambda: re.search(r"dcid (\d+)", said.read_text()), 120)
        if dcid is None:
            raise RuntimeError(f"no data collection began: {said.read_text()}")
        return Collection(self, process, int(dcid[1]))

    def ask(self, path: str, body: Any) -> Any:
        """Ask Prefect's API; None if it's away."""
        try:
            return ask_api(read_running_site(self.settings), path, body)
        except (PlazaError, OSError, ValueError):
            return None

    def is_healthy(self) -> bool:
        """Whether `plaza status` would end with 0."""
        try:
            return health.status(self.settings).is_healthy
        except (PlazaError, OSError, ValueError):  # before issue 10 it could fail
            return False

    def find(self, *signs: str) -> psutil.Process | None:
        """Return the first process whose command line has one of these in it."""
        for process in site_processes(self.settings.home.resolve()):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if any(sign in line for sign in signs):
                return process
        return None

    def find_run(self, flow: str) -> psutil.Process | None:
        """Return the first process that has a run of a flow whose name begins so."""
        for run, process in find_run_processes(self.settings.home.resolve()).runs.items():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if line.startswith(run_title(run, flow, "").rstrip(" /")):
                return process
        return None


@dataclass
class Collection:
    """A data collection that is under way."""

    site: Site
    process: subprocess.Popen[str]
    dcid: int

    def images(self) -> list[int]:
        """Numbers of the images whose results are in ISPyB, with repetitions."""
        return sorted(number for (number,) in self._rows("SELECT imageNumber FROM ImageQualityIndicators"))

    def centrings(self) -> int:
        """How many centrings are in ISPyB."""
        return len(
            self._rows(
                "SELECT x.xrayCentringId FROM XrayCentring x JOIN DataCollection d USING (dataCollectionGroupId)", "d."
            )
        )

    def _rows(self, query: str, table: str = "") -> list[Any]:
        from sqlalchemy import text

        engine = connect(self.site.settings)
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(f"{query} WHERE {table}dataCollectionId = {self.dcid}")))
        except Exception:  # of whatever database, while it's away
            return []
        finally:
            engine.dispose()

    def runs(self) -> list[dict[str, Any]]:
        """Return Prefect's runs of this collection."""
        runs = self.site.ask("flow_runs/filter", {"limit": 100, "sort": "EXPECTED_START_TIME_DESC"}) or []
        return [run for run in runs if run["parameters"].get("dcid") == self.dcid]

    def is_right(self) -> bool:
        """Every image has been analysed once, the grid is centred, and no run is still under way."""
        ended = all((run["state_type"] or "") in FINAL for run in self.runs())
        return ended and self.images() == list(range(1, IMAGES + 1)) and self.centrings() == 1

    def say_rows(self) -> str:
        """Say what is in ISPyB."""
        images = self.images()
        doubled = len(images) - len(set(images))
        words = f"{len(set(images))} of {IMAGES} images, {self.centrings()} centring"
        return f"{words}, {doubled} doubled" if doubled else words


def wait_for(condition: Callable[[], Any], timeout_s: float, pause_s: float = POLL_S) -> Any:
    """Wait until a condition holds and return what it gave; None if it doesn't in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            return None
        time.sleep(pause_s)
    return value


def kill_one(*signs: str) -> Kill:
    """Return what kills the process that has one of these signs, as soon as there is one."""
    return _kill_found(lambda site: site.find(*signs), " or ".join(signs))


def kill_run(flow: str) -> Kill:
    """Return what kills the process of a run of this flow, as soon as there is one."""
    return _kill_found(lambda site: site.find_run(flow), f"run of {flow}")


def _kill_found(find: Callable[[Site], psutil.Process | None], what: str) -> Kill:
    def kill(site: Site) -> float:
        victim = wait_for(lambda: find(site), 60, pause_s=0.01)
        if victim is None:
            raise RuntimeError(f"nothing to kill: {what}")
        victim.kill()
        return time.monotonic()

    return kill


def kill_everything(site: Site) -> float:
    """Kill all the site's processes, as a power cut would."""
    for process in site_processes(site.settings.home.resolve()):
        if process.is_running():
            process.kill()
    return time.monotonic()


def kill_mariadb(site: Site) -> float:
    """Kill ISPyB's server and start it again five seconds later."""
    assert site.mariadb is not None
    os.kill(site.mariadb, signal.SIGKILL)
    killed = time.monotonic()
    time.sleep(5)
    subprocess.run([CHECKOUT / "deployments" / "dev-cluster", "up", "mariadb"], check=True, capture_output=True)
    return killed


def restart(site: Site) -> float:
    """Restart as an operator does."""
    began = time.monotonic()
    site.run("down")
    site.run("up")
    return began


_SERVICE = "tasks.processes.ties flows.site."
AT_ONCE = {"Mimas at start": kill_run("mimas")}
UNDER_WAY: dict[str, Kill] = {
    "recipe run's process": kill_run("per-image-analysis"),
    "DIALS child": kill_one("tasks.diffraction.dials_processes.child_main"),
    "Dask worker": kill_one("dask worker ["),
    "scheduler": kill_one(f"{_SERVICE}analysis_cluster"),
    "fork server": kill_one(SERVER_TITLE),
    "worker": kill_one(f"{_SERVICE}worker_service"),
    "server": kill_one(f"{_SERVICE}api_server.server"),
    "PostgreSQL": kill_one("pginstall/bin/postgres"),
    "MariaDB": kill_mariadb,
    "supervisord": kill_one("flows.site.supervision.process"),
    "everything": kill_everything,
    "planned restart": restart,
    "Mimas at end": kill_run("mimas"),  # the next that comes
}


def try_kill(site: Site, name: str) -> Outcome:
    """Kill one part during a collection, and help for as long as the rows aren't right."""
    collection = site.collect()
    if name in UNDER_WAY:
        wait_for(collection.images, 90)
    killed = (AT_ONCE | UNDER_WAY)[name](site)
    outcome = Outcome()

    def look() -> bool:
        if outcome.seen_s is None:
            failed = any(run["state_type"] in {"CRASHED", "FAILED"} for run in collection.runs())
            if failed or not site.is_healthy():
                outcome.seen_s = time.monotonic() - killed
        return collection.process.poll() is not None and collection.is_right()

    for by, help_it in helps(site, collection):
        if help_it():
            outcome.by += f"{' + ' if outcome.by else ''}{by}"
        if wait_for(look, PATIENCE_S):
            outcome.recovered_s = time.monotonic() - killed
            break
    outcome.rows = collection.say_rows()
    collection.process.kill()
    return outcome


def helps(site: Site, collection: Collection) -> Sequence[tuple[str, Callable[[], bool]]]:
    """Return what is tried in turn, and says whether there was anything to do."""

    def bring_up() -> bool:
        if site.find("flows.site.supervision.process"):
            return False
        site.run("up")
        return True

    def resume() -> bool:
        if site.run("resume", "--interrupted") == 2:  # before issue 10, one by one
            for folder in (site.settings.home / "recipe-runs").glob("*"):
                site.run("resume", RunFolder(folder).recipe_run)
        return True

    def tell_again() -> bool:
        for event in ("start", "end"):
            site.run("prefect", "deployment", "run", f"mimas/{event}", "--param", f"dcid={collection.dcid}")
        return True

    return (
        ("by itself", lambda: bool(site.find("flows.site.supervision.process"))),
        ("`plaza up`", bring_up),
        ("`plaza resume --interrupted`", resume),
        ("the events again", tell_again),
    )


def main() -> None:
    """Kill, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = [*AT_ONCE, *UNDER_WAY]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART", help=", ".join(parts))
    parser.add_argument("--home", type=Path, help="folder of the site; unset: a temporary one")
    parser.add_argument("--mariadb", type=int, metavar="PID", help="process of ISPyB's server")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="plaza-kills-") as folder:
        settings = Settings(home=arguments.home or folder, server_port=0, dask_port=0, analysis_workers=1)
        site = Site(settings, arguments.mariadb)
        try:
            up(settings)
            sys.stdout.write("| killed | seen within | recovered by | after | rows |\n|---|---|---|---|---|\n")
            for name in arguments.only:
                if name != "MariaDB" or arguments.mariadb:
                    tell(site, name)
        finally:
            down(settings)


def tell(site: Site, name: str) -> None:
    """Kill one part and print its row; the site is brought up again for the next."""
    try:
        found = try_kill(site, name)
        seen = "not at all" if found.seen_s is None else f"{found.seen_s:.1f} s"
        after = "not at all" if found.recovered_s is None else f"{found.recovered_s:.0f} s"
        row = f"| {name} | {seen} | {found.by} | {after} | {found.rows} |\n"
    except RuntimeError as error:
        row = f"| {name} | not tried: {str(error)[:200]} | | | |\n"
    sys.stdout.write(row)
    sys.stdout.flush()
    if not site_file(site.settings.home).exists() or not site.is_healthy():
        up(site.settings)


if __name__ == "__main__":
    main()
