"""Time what Mimas decides: one decision, thousands of scenarios in a file, past collections by other rules.

python -m tests.benchmarks.mimas [URL…]

The URLs are those of empty databases on servers, such as a new one of `deployments/dev-cluster`; SQLite is measured
always. Prints a table for docs/performance.md. Each figure stands beside that of the least that could be done: JSON
that is only read, rows that are only selected.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, insert

from blocks.ispyb_connection import open_engine, transaction
from flows.mimas.rules import own_rules
from flows.mimas.scenario import DCClass, Event
from flows.mimas.scenarios.given_scenario import scenario_from_parameters
from tasks.ispyb_access.schema.tables import METADATA, create_schema
from tests.benchmarks.ispyb_reading import facility

SCENARIOS = 2_000
COLLECTIONS = 10_000
BEAMLINES = ("i02-1", "i02-2", "i03", "i04", "i04-1", "i15", "i19-1", "i19-2", "i23", "i24")
TIMES = 5  # of which the best counts
START = datetime(2026, 1, 1)

# A rule of Plaza's, changed, and another one: what a site tries out
CHANGED_RULES = """
from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is, class_is, event_is
from flows.mimas.rules.asking import recipes
from flows.mimas.scenario import DCClass, Event

is_i04_grid_scan = beamline_is("i04") & class_is(DCClass.GRIDSCAN)
RULES = (
    Rule("preview", event_is(Event.END) & class_is(DCClass.ROTATION), recipes("my-preview")),
    Rule("i04 grid scans start", is_i04_grid_scan & event_is(Event.START), recipes("watch")),
)
SWITCHED_OFF = ("metadata for deposition",)
"""

# All columns that a decision needs of a collection itself
BARE_SELECT = """
SELECT dataCollectionId, dataCollectionGroupId, startTime, runStatus, startImageNumber, numberOfImages, overlap,
       axisRange, imageDirectory, fileTemplate FROM DataCollection WHERE dataCollectionId <= {count}
"""


class Line(NamedTuple):
    """A line of the table."""

    what: str
    figure: str
    least: str
    ratio: float


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [*decisions(), file_of_scenarios(folder)]
        for url in (f"sqlite:///{folder}/ispyb.sqlite", *sys.argv[1:]):
            lines.append(past_collections(folder, url))
    print("| | | the least | ratio |\n|---|---|---|---|")
    for line in lines:
        print(f"| {line.what} | {line.figure} | {line.least} | {line.ratio:.1f} |")
    print(f"\nload: {os.getloadavg()[0]:.1f}")


def decisions() -> Iterator[Line]:
    """Time decisions on scenarios of every kind, in this process."""
    given = list(itertools.islice(parameters(), SCENARIOS))
    scenarios = [scenario_from_parameters(one)[0] for one in given]
    texts = [json.dumps(one) for one in given]
    rules = own_rules()
    least = cpu_us(lambda: [json.loads(text) for text in texts])
    for what, ask in (
        ("a decision", lambda scenario: rules.decide(scenario).invocations),
        ("a decision with its explanation", lambda scenario: rules.decide(scenario).explain()),
        ("a scenario from its parameters", None),
    ):
        if ask is None:
            figure = cpu_us(lambda: [scenario_from_parameters(one) for one in given])
        else:
            figure = cpu_us(lambda ask=ask: [ask(scenario) for scenario in scenarios])
        yield Line(what, f"{figure:.0f} µs", f"its JSON read: {least:.0f} µs", figure / least)


def file_of_scenarios(folder: Path) -> Line:
    """Time `plaza mimas decide`, the whole process."""
    file = folder / "scenarios.json"
    file.write_text(json.dumps(list(itertools.islice(parameters(), SCENARIOS))))
    figure = seconds(plaza("mimas", "decide", str(file)))
    least = seconds([sys.executable, "-c", f"import json; json.dumps(json.load(open({str(file)!r})))"])
    what = f"`plaza mimas decide` of {SCENARIOS:,} scenarios, whole process"
    return Line(what, f"{figure:.2f} s", f"the JSON read and written by Python: {least:.2f} s", figure / least)


def past_collections(folder: Path, url: str) -> Line:
    """Time `plaza mimas replay`, the whole process."""
    engine = open_engine(url)
    create_schema(engine, on_server=True)
    fill(engine)
    address, rules = folder / "ispyb.url", folder / "rules.py"
    address.write_text(engine.url.render_as_string(hide_password=False))
    address.chmod(0o600)
    rules.write_text(CHANGED_RULES)
    command = plaza(
        "mimas", "replay", "--since", START.isoformat(), "--rules", str(rules), "--ispyb", str(address), "--json"
    )
    looked_at = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
    assert looked_at["collections"] == COLLECTIONS, looked_at
    figure, least = seconds(command), best(lambda: select_bare(engine))
    engine.dispose()
    what = f"`plaza mimas replay` of {COLLECTIONS:,} collections, {engine.dialect.name}, whole process"
    return Line(what, f"{figure:.1f} s", f"their rows selected by the driver: {least:.2f} s", figure / least)


def parameters() -> Iterator[dict[str, Any]]:
    """Yield scenarios of every kind, again and again; every third has a known crystal."""
    kinds = itertools.product(BEAMLINES, ("eiger", "pilatus", None), DCClass, Event)
    for number, (beamline, detector, kind, event) in enumerate(itertools.cycle(kinds), 1):
        known = {"space_group": "P41212", "unit_cell": [78, 78, 37, 90, 90, 90]} if number % 3 == 0 else {}
        yield {
            **{"dcid": str(number), "event": event.value, "beamline": beamline, "dc_class": kind.name},
            **{"detectorclass": detector, "visit": "mx12345-1", "run_status": "DataCollection Successful"},
            **{"sweep_list": [[number, 1, 900], [number + 1, 1, 900]], "preferred_processing": "xia2/DIALS"},
            **known,
        }


def fill(engine: Engine) -> None:
    """Write 10,000 collections of all beamlines; of half of the crystals nothing is known."""
    rows = facility()
    rows["DataCollection"] = rows["DataCollection"][:COLLECTIONS]
    rows["GridInfo"] = [row for row in rows["GridInfo"] if row["dataCollectionId"] <= COLLECTIONS]
    for number, session in enumerate(rows["BLSession"]):
        session["beamLineName"] = BEAMLINES[number % len(BEAMLINES)]
    for number, crystal in enumerate(rows["Crystal"]):
        if number % 2:
            crystal.update(dict.fromkeys(("spaceGroup", "cell_a", "cell_b", "cell_c")))
    for number, collection in enumerate(rows["DataCollection"]):
        collection["startTime"] = START + timedelta(minutes=number)
    with transaction(engine) as connection:
        for name, values in rows.items():
            connection.execute(insert(METADATA.tables[name]), values)


def select_bare(engine: Engine) -> None:
    """Select the rows of the collections by the driver alone."""
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute(BARE_SELECT.format(count=COLLECTIONS))
    cursor.fetchall()
    connection.close()


def plaza(*words: str) -> list[str]:
    """Return a command of Plaza's."""
    return [sys.executable, "-c", "from flows.cli import main; main()", *words]


def seconds(command: list[str]) -> float:
    """Return how long a process takes."""
    return best(lambda: subprocess.run(command, check=True, capture_output=True))


def best(work: Callable[[], object]) -> float:
    """Return the shortest of several times (s) by the clock."""
    return min(_timed(work, time.perf_counter) for _ in range(TIMES))


def cpu_us(work: Callable[[], Iterable[object]]) -> float:
    """Return the shortest of several times of work on all scenarios by the CPU, µs for each."""
    return min(_timed(work, time.process_time) for _ in range(TIMES)) / SCENARIOS * 1e6


def _timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


if __name__ == "__main__":
    main()
