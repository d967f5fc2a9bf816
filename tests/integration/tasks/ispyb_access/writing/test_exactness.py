"""Four hundred lists of commands, some delivered twice, while writers and the server are killed: each row once."""

import asyncio
import os
import random
import signal
import time

import pytest
from sqlalchemy import func, select, text

from blocks.site_ispyb import connect
from flows.resources import SiteResources
from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing.ledger import TABLE as LEDGER
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step import Message, StepContext
from tasks.step.runner import run_step

pytestmark = pytest.mark.slow

MESSAGES = 400
DELIVERED_TWICE = 40
SERVER_KILLS = 12
WRITER_KILLS = 12

SHELL = {"r_merge": 0.05, "completeness": 99.5, "n_tot_obs": 1000}
PROGRAM = {"program_id": "$program"}
COMMANDS = [
    {"ispyb_command": "register_processing", "program": "xia2 dials", "store_result": "program"},
    {"ispyb_command": "write_autoproc", "spacegroup": "P41212", "store_result": "autoproc", **PROGRAM},
    {"ispyb_command": "insert_scaling", "autoproc_id": "$autoproc", "overall": SHELL, "innerShell": SHELL,
     "outerShell": SHELL, "store_result": "scaling"},
    {"ispyb_command": "upsert_integration", "scaling_id": "$scaling", "cell_a": 78.0, **PROGRAM},
    {"ispyb_command": "add_program_message", "severity": "INFO", "message": "message $number", **PROGRAM},
]  # fmt: skip
NODE = {"parameters": {"ispyb_command": "multipart_message"}}
ROWS = {
    "AutoProcProgram": MESSAGES,
    "AutoProc": MESSAGES,
    "AutoProcScaling": MESSAGES,
    "AutoProcScalingStatistics": 3 * MESSAGES,
    "AutoProcIntegration": MESSAGES,
    "AutoProcScaling_has_Int": MESSAGES,
    "AutoProcProgramMessage": MESSAGES,
    "plaza_ledger": MESSAGES,
}


class Writers:
    """Processes, one after the other, that store messages and note which deliveries are done: after the commit."""

    def __init__(self, settings, dcid, deliveries, notes):
        self._settings, self._dcid, self._deliveries, self._notes = settings, dcid, deliveries, notes
        notes.touch()
        self.process = None

    @property
    def done(self):
        """How many deliveries are done."""
        return self._notes.stat().st_size // len("0000\n")

    def start(self):
        self.process = os.fork()
        if self.process == 0:
            try:
                asyncio.run(self._work())
            finally:
                os._exit(1)

    def kill(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    def has_ended(self):
        """Tell whether the last one has come to its end by itself."""
        process, status = os.waitpid(self.process, os.WNOHANG)
        assert process == 0 or status == 0, "a writer has failed"
        return process != 0

    async def _work(self):
        left = self._deliveries[self.done :]
        message = {"ispyb_command_list": COMMANDS, "dcid": self._dcid}

        async def inbox():
            for number in left:
                yield Message(message, {"number": number}, number, time.time())

        def refuse(message, error):
            os.write(2, f"message {message.number} is refused: {error}\n".encode())
            os._exit(1)

        async with SiteResources(self._settings) as resources:
            with self._notes.open("a") as notes:
                async for _ in run_step(store_in_ispyb, inbox(), StepContext(NODE, "run-1", resources, refuse)):
                    notes.write("done\n")
                    notes.flush()
        os._exit(0)


def deliveries(order):
    numbers = list(range(1, MESSAGES + 1))
    delivered = numbers + order.sample(numbers, DELIVERED_TWICE)
    order.shuffle(delivered)
    return delivered


def test_rows_are_exact_though_writers_and_the_server_are_killed(
    database, settings, engine, add_collection, tmp_path, request
):
    order = random.Random(20260101)
    dcid = add_collection()
    engine.dispose()  # or the writers would share its connections
    writers = Writers(settings, dcid, deliveries(order), tmp_path / "done")
    server_kills = SERVER_KILLS if database == "mariadb" else 0
    kills = sorted(
        (order.randrange(MESSAGES - DELIVERED_TWICE), kind)
        for kind, count in (("server", server_kills), ("writer", WRITER_KILLS))
        for _ in range(count)
    )
    writers.start()
    for at, kind in kills:
        while writers.done < at:
            assert not writers.has_ended()
            time.sleep(0.002)
        time.sleep(order.uniform(0, 0.05))  # anywhere within a transaction
        if kind == "writer":
            writers.kill()
            writers.start()
        else:
            server = request.getfixturevalue("mariadb")
            server.kill()
            server.start()
    while not writers.has_ended():
        time.sleep(0.01)

    assert writers.done == MESSAGES + DELIVERED_TWICE
    check = connect(settings)
    with check.connect() as connection:
        counts = {
            name: connection.scalar(select(func.count()).select_from(METADATA.tables.get(name, LEDGER)))
            for name in ROWS
        }
        told = METADATA.tables["AutoProcProgramMessage"].c.message
        messages = set(connection.scalars(select(told)))
        if database == "sqlite":
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    check.dispose()
    assert counts == ROWS
    assert messages == {f"message {number}" for number in range(1, MESSAGES + 1)}
