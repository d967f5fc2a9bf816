"""Time ISPyB on SQLite: tables made, per-image results written, data collections read.

python tests/benchmarks/ispyb_access.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable

from sqlalchemy import Engine, insert

from blocks.ispyb_connection import open_engine, transaction
from tasks.ispyb_access.commands import PerImageResult, store_per_image_results
from tasks.ispyb_access.reader import read_data_collection
from tasks.ispyb_access.schema import METADATA, create_schema

IMAGES = 36_000
BATCH = 500
COLLECTIONS = 20_000
READS = 200


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write_images(engine: Engine) -> None:
    """Write the results of all images, batch by batch."""
    values = {"dcid": 1, "n_spots_total": 10, "n_spots_no_ice": 9, "estimated_d_min": 2.0, "total_intensity": 1e5}
    results = [PerImageResult.model_validate(values | {"file-number": number}) for number in range(1, IMAGES + 1)]
    for first in range(0, IMAGES, BATCH):
        with transaction(engine) as connection:
            store_per_image_results(connection, results[first : first + BATCH])


def fill(engine: Engine) -> None:
    """Add data collections, four to a group."""
    tables = METADATA.tables
    sweep = {
        "SESSIONID": 1,
        "imageDirectory": "/dls/i03/data/2024/mx1-1/x/",
        "imagePrefix": "x",
        "fileTemplate": "x_####.cbf",
        "startImageNumber": 1,
        "numberOfImages": 900,
        "overlap": 0,
        "axisRange": 0.1,
    }
    rows = {
        "Person": [{"personId": 1}],
        "Proposal": [{"proposalId": 1, "personId": 1, "proposalCode": "mx", "proposalNumber": "1"}],
        "BLSession": [{"sessionId": 1, "proposalId": 1, "visit_number": 1, "beamLineName": "i03"}],
        "DataCollectionGroup": [{"dataCollectionGroupId": n + 1, "sessionId": 1} for n in range(COLLECTIONS // 4)],
        "DataCollection": [
            {**sweep, "dataCollectionId": n + 1, "dataCollectionGroupId": n // 4 + 1, "dataCollectionNumber": n}
            for n in range(COLLECTIONS)
        ],
    }
    with transaction(engine) as connection:
        for name, some in rows.items():
            connection.execute(insert(tables[name]), some)


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/ispyb.sqlite")
        print(f"{len(METADATA.tables)} tables made: {seconds(lambda: create_schema(engine)):.2f} s")
        for what in ("new", "already there"):
            print(f"per-image results, {what}: {IMAGES / seconds(lambda: write_images(engine)):,.0f} rows/s")
        fill(engine)
        read = [seconds(lambda dcid=n: read_data_collection(engine, dcid, "run")) for n in range(1, READS + 1)]
        print(f"a data collection among {COLLECTIONS:,}: {1000 * statistics.median(read):.1f} ms")
        engine.dispose()


if __name__ == "__main__":
    main()
