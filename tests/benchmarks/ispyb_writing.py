"""Time what the store step writes to ISPyB, beside the same rows in a bare `executemany`.

python -m tests.benchmarks.ispyb_writing [URL]

The URL is that of an empty database on a server, such as a new one of `deployments/dev-cluster`; without it, it's
SQLite's.
"""

import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from blocks.ispyb_connection import transaction
from blocks.settings import Settings
from flows.resources import SiteResources
from tasks.ispyb_access.schema.tables import create_schema
from tasks.ispyb_access.writing.commands.image_quality import COLUMNS, PerImageResult, upsert
from tasks.ispyb_connector.image_batches import BATCH_ROWS
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step import Message, StepContext
from tasks.step.resources import Resources
from tasks.step.runner import run_step

IMAGES = 20_000
ROUNDS = 5
LISTS = 100

STORE_IMAGE = {"ispyb_command": "store_per_image_analysis_results", "dcid": 1}
SHELL = {"r_merge": 0.05, "completeness": 99.5, "n_tot_obs": 1000}
STORE_LIST = {
    "ispyb_command": "multipart_message",
    "program_id": "$program",
    "ispyb_command_list": [
        {"ispyb_command": "register_processing", "program": "xia2 dials", "store_result": "program"},
        {"ispyb_command": "write_autoproc", "spacegroup": "P41212", "store_result": "autoproc"},
        {
            "ispyb_command": "insert_scaling",
            "autoproc_id": "$autoproc",
            "overall": SHELL,
            "innerShell": SHELL,
            "outerShell": SHELL,
        },
        {"ispyb_command": "add_program_message", "severity": "INFO", "message": "scaled"},
        {"ispyb_command": "update_processing_status", "status": "success", "message": "done"},
    ],
}


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def image_messages(first: int) -> list[Message]:
    """Return messages as per-image analysis sends them."""
    values = {"n_spots_total": 10, "n_spots_no_ice": 9, "estimated_d_min": 2.0, "total_intensity": 1e5, "file": "x.h5"}
    numbers = range(first, first + IMAGES)
    return [Message({"file-pattern-index": n, "file-seen-at": 1.0, **values}, {"ID": "run"}, n) for n in numbers]


def store(resources: Resources, node_parameters: dict[str, Any], messages: Sequence[Message]) -> None:
    """Run the step on messages, and see that all are stored."""

    async def inbox() -> AsyncIterator[Message]:
        for message in messages:
            yield message

    def refuse(message: Message, error: Exception) -> None:
        raise error

    async def run() -> int:
        context = StepContext({"parameters": node_parameters}, f"run {messages[0].number}", resources, refuse)
        return len([sent async for sent in run_step(store_in_ispyb, inbox(), context)])

    assert asyncio.run(run()) == len(messages)


def store_bare(engine: Engine, messages: Sequence[Message]) -> Callable[[], None]:
    """Return what writes the same rows in the same batches by SQLAlchemy's executemany, and nothing else."""
    now = datetime.now().replace(microsecond=0)
    rows = []
    for message in messages:
        row = PerImageResult.model_validate(STORE_IMAGE | message.payload).row("")
        rows.append(dict(zip(COLUMNS, row, strict=True)) | {"recordTimeStamp": now})

    def write() -> None:
        for first in range(0, IMAGES, BATCH_ROWS):
            with transaction(engine) as connection:
                connection.execute(upsert(engine.dialect.name), rows[first : first + BATCH_ROWS])

    return write


def measure_images(resources: Resources) -> None:
    """Print rates of new rows and of rows that are there, step and bare in turn."""
    step, bare = [], []
    for turn in range(ROUNDS):
        images = image_messages(1 + 2 * turn * IMAGES)
        others = image_messages(1 + (2 * turn + 1) * IMAGES)
        step.append(IMAGES / seconds(lambda images=images: store(resources, STORE_IMAGE, images)))
        bare.append(IMAGES / seconds(store_bare(resources.ispyb, others)))
    again = [IMAGES / seconds(lambda: store(resources, STORE_IMAGE, images)) for _ in range(ROUNDS)]
    ratio = statistics.median(one / other for one, other in zip(step, bare, strict=True))
    print(f"  per-image results through the step: {statistics.median(step):,.0f} rows/s ({min(step):,.0f}…)")
    print(f"    of rows that are there: {statistics.median(again):,.0f} rows/s")
    print(f"  the same rows by a bare executemany: {statistics.median(bare):,.0f} rows/s; ratio {ratio:.2f}")


def measure_lists(resources: Resources) -> None:
    """Print how long a list of commands takes, message by message, each a transaction with its ledger entry."""
    messages = [Message({}, {"ID": "run"}, number) for number in range(1, LISTS + 1)]
    taken = seconds(lambda: store(resources, STORE_LIST, messages))
    print(f"  a list of five commands, eight rows: {1000 * taken / LISTS:.1f} ms")


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/ispyb.sqlite"
        resources = SiteResources(Settings(home=Path(folder), ispyb_url=url))
        print(f"{resources.ispyb.dialect.name}:")
        print(f"  tables made in {seconds(lambda: create_schema(resources.ispyb, on_server=True)):.2f} s")
        gc.collect()
        gc.freeze()  # as the processes do that recipe runs are forked from
        measure_images(resources)
        measure_lists(resources)
        resources.ispyb.dispose()


if __name__ == "__main__":
    main()
