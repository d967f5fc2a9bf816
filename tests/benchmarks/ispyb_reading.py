"""Time what recipes read of a data collection, beside the same statements without SQLAlchemy or Plaza.

python -m tests.benchmarks.ispyb_reading [URL]

The URL is that of an empty database on a server, such as a new one of `deployments/dev-cluster`; without it, it's
SQLite's. 20,000 data collections of 5,000 samples are written first.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Engine, event, insert

from blocks.ispyb_connection import open_engine, transaction
from tasks.ispyb_access.reading.reader import read_data_collection
from tasks.ispyb_access.schema.tables import METADATA, create_schema

COLLECTIONS = 20_000
SAMPLES = 5_000
SESSIONS = 100
READS = 100
VISIT = "/tmp/plaza-benchmark/i03/data/2024"
CELL = {"cell_a": 78, "cell_b": 78, "cell_c": 37, "cell_alpha": 90, "cell_beta": 90, "cell_gamma": 90}


def facility() -> dict[str, list[dict[str, Any]]]:
    """Return the rows: every collection has a group of four, a session, a sample; every fourth is a grid."""
    sample = range(1, SAMPLES + 1)
    group = range(1, COLLECTIONS // 4 + 1)
    session = range(1, SESSIONS + 1)
    return {
        "Person": [{"personId": 1}],
        "Proposal": [{"proposalId": 1, "personId": 1, "proposalCode": "mx", "proposalNumber": "1"}],
        "BLSession": [{"sessionId": n, "proposalId": 1, "visit_number": n, "beamLineName": "i03"} for n in session],
        "Protein": [{"proteinId": n, "proposalId": 1, "acronym": f"p{n}", "sequence": 300 * "A"} for n in sample],
        "PDB": [{"pdbId": n, "code": "1abc"} for n in sample],
        "Protein_has_PDB": [{"proteinid": n, "pdbid": n} for n in sample],
        "Crystal": [{"crystalId": n, "proteinId": n, "spaceGroup": "P1", **CELL} for n in sample],
        "DiffractionPlan": [{"diffractionPlanId": n, "requiredResolution": 1.5} for n in sample],
        "Container": [{"containerId": n} for n in range(1, SAMPLES // 10 + 2)],
        "BLSample": [
            {
                "blSampleId": n,
                "crystalId": n,
                "diffractionPlanId": n,
                "containerId": n // 10 + 1,
                "location": str(n % 10),
                "name": f"x{n}",
                "subLocation": 1,
                "loopType": "multipin",
            }
            for n in sample
        ],
        "BLSampleGroup": [{"blSampleGroupId": n, "name": f"g{n}", "proposalId": 1} for n in range(1, SAMPLES // 5 + 2)],
        "BLSampleGroup_has_BLSample": [{"blSampleGroupId": n // 5 + 1, "blSampleId": n} for n in sample],
        "EnergyScan": [
            {
                "sessionId": n % SESSIONS + 1,
                "blSampleId": n,
                "element": "Se",
                "peakEnergy": 12658,
                "inflectionEnergy": 12656,
            }
            for n in sample
        ],
        "Detector": [{"detectorId": 1, "detectorModel": "Eiger2 XE 16M"}],
        "DataCollectionGroup": [
            {"dataCollectionGroupId": n, "sessionId": n % SESSIONS + 1, "blSampleId": n, "experimentType": "SAD"}
            for n in group
        ],
        "DataCollection": [_collection(n) for n in range(COLLECTIONS)],
        "GridInfo": [{"dataCollectionId": n + 1, "steps_x": 5, "steps_y": 4} for n in range(0, COLLECTIONS, 4)],
    }


def _collection(number: int) -> dict[str, Any]:
    group = number // 4 + 1
    session = group % SESSIONS + 1
    return {
        "dataCollectionId": number + 1,
        "dataCollectionGroupId": group,
        "SESSIONID": session,
        "BLSAMPLEID": group,
        "detectorId": 1,
        "imageDirectory": f"{VISIT}/mx1-{session}/x{group}/",
        "imagePrefix": "x",
        "dataCollectionNumber": number % 4 + 1,
        "fileTemplate": f"x_{number % 4 + 1}_####.cbf",
        "startImageNumber": 1,
        "numberOfImages": 900,
        "overlap": 0,
        "axisRange": 0.1,
        "wavelength": 0.9795,
    }


def fill(engine: Engine) -> None:
    """Write the rows."""
    with transaction(engine) as connection:
        for name, rows in facility().items():
            connection.execute(insert(METADATA.tables[name]), rows)


@contextmanager
def recorded(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Record the statements that are sent, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", record)
    yield statements
    event.remove(engine, "before_cursor_execute", record)


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def bare(engine: Engine, statements: list[tuple[str, Any]]) -> Callable[[], None]:
    """Return what sends the statements by the driver alone and fetches their rows."""

    def send() -> None:
        with closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            for statement, parameters in statements:
                cursor.execute(statement, parameters)
                cursor.fetchall()
            connection.rollback()

    return send


def measure(engine: Engine, what: str, first: int) -> None:
    """Print the median over data collections of one kind."""
    read_data_collection(engine, first, "run")  # compiles the statements
    times, bare_times, counts = [], [], []
    for dcid in range(first, first + 40 * READS, 40):
        with recorded(engine) as statements:
            times.append(milliseconds(lambda dcid=dcid: read_data_collection(engine, dcid, "run")))
        bare_times.append(milliseconds(bare(engine, statements)))
        counts.append(len(statements))
    print(
        f"  {what}: {statistics.median(times):.1f} ms in {max(counts)} statements, slowest {max(times):.1f} ms; "
        f"by the driver alone {statistics.median(bare_times):.1f} ms"
    )


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/ispyb.sqlite")
        create_schema(engine, on_server=True)
        fill(engine)
        print(f"a data collection among {COLLECTIONS:,}, {engine.dialect.name}:")
        measure(engine, "grid", 1)
        measure(engine, "rotation", 2)
        engine.dispose()


if __name__ == "__main__":
    main()
