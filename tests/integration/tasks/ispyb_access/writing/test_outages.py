"""A database that goes away while it's written to: nothing is lost, nothing is doubled, and the log says so once."""

import asyncio
import logging
import shutil
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pymysql
import pytest
from sqlalchemy import event, func, select, text

from blocks import ispyb_connection
from blocks.settings import Settings
from flows.resources import SiteResources
from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_access.writing import patience
from tasks.ispyb_access.writing.ledger import TABLE as LEDGER
from tasks.ispyb_connector.storing import store_in_ispyb
from tests.support.dev_mariadb import DevMariaDB, dev_mariadb, only_mariadb, only_sqlite
from tests.support.running_step import RunningStep, until

IMAGES = {"ispyb_command": "store_per_image_analysis_results", "dcid": 7}
RECOVERY_S = 30.0  # far less than pauses would have grown to, far more than a busy machine takes

REGISTER = {"ispyb_command": "register_processing", "program": "xia2 dials", "store_result": "program"}
TELL = {"ispyb_command": "add_program_message", "program_id": "$program", "severity": "INFO"}
LIST = {"ispyb_command": "multipart_message", "ispyb_command_list": [REGISTER, TELL, TELL | {"severity": "ERROR"}]}
ONE_LIST = {"AutoProcProgram": 1, "AutoProcProgramMessage": 2, "plaza_ledger": 1}


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "tasks")
    return caplog


@pytest.fixture
def server(mariadb: DevMariaDB, settings):
    """The server, which runs again after the test whatever was done to it."""
    yield mariadb
    mariadb.start()


def count(engine, *names):
    tables = {name: METADATA.tables.get(name, LEDGER) for name in names}
    with engine.connect() as connection:
        return {name: connection.scalar(select(func.count()).select_from(table)) for name, table in tables.items()}


def said_once(log):
    return log.text.count("waiting for ISPyB") == log.text.count("ISPyB answers again") == 1


def at_statement(beginning, engine, act):
    """Do something once, before a statement that begins so is sent."""
    done = []

    @event.listens_for(engine, "before_cursor_execute")
    def look(_connection, _cursor, statement, *_):
        if statement.startswith(beginning) and not done:
            done.append(statement)
            act()

    return done


def at_commit(engine, act):
    """Do something once, before a transaction that writes to the ledger is committed."""
    done = []

    @event.listens_for(engine, "before_cursor_execute")
    def look(connection, _cursor, statement, *_):
        connection.info["enters"] = "INSERT INTO plaza_ledger" in statement

    @event.listens_for(engine, "commit")
    def commit(connection):
        if connection.info.pop("enters", False) and not done:
            done.append(True)
            act()

    return done


@only_mariadb
@pytest.mark.slow
class TestServer:
    async def test_away_from_the_start(self, server, resources, log):
        server.kill()
        step = RunningStep(store_in_ispyb, LIST, resources)
        step.put({})
        await until(lambda: "waiting for ISPyB" in log.text)
        await asyncio.to_thread(server.start)
        await until(lambda: step.sent, RECOVERY_S)
        await step.end()
        assert (count(resources.ispyb, *ONE_LIST), step.refused) == (ONE_LIST, [])
        assert said_once(log)

    async def test_recovery_is_quick_after_a_long_time_too(self, server, resources, log, monkeypatch):
        """Pauses grow, but not for ever."""
        server.kill()
        monkeypatch.setattr(patience, "PAUSES", replace(patience.PAUSES, first_s=600.0))
        step = RunningStep(store_in_ispyb, LIST, resources)
        step.put({})
        await until(lambda: "waiting for ISPyB" in log.text)
        await asyncio.to_thread(server.start)
        await until(lambda: step.sent, RECOVERY_S)
        await step.end()

    @pytest.mark.parametrize(
        "at",
        [
            pytest.param(at_commit, id="commit"),
            *(
                pytest.param(partial(at_statement, beginning), id=beginning)
                for beginning in (
                    "INSERT INTO `AutoProcProgram`",
                    "INSERT INTO `AutoProcProgramMessage`",
                    "INSERT INTO plaza_ledger",
                    "SELECT plaza_ledger",
                )
            ),
        ],
    )
    async def test_killed_within_a_transaction(self, at, server, resources, log):
        killed = at(resources.ispyb, server.kill)
        step = RunningStep(store_in_ispyb, LIST, resources)
        step.put({})
        await until(lambda: "waiting for ISPyB" in log.text)
        await asyncio.to_thread(server.start)
        await until(lambda: step.sent, RECOVERY_S)
        await step.end()
        assert killed
        assert (count(resources.ispyb, *ONE_LIST), step.refused) == (ONE_LIST, [])
        assert said_once(log)

    async def test_killed_after_a_commit_whose_answer_is_lost(self, server, resources, log):
        """The server has committed, but the writer can't know: the ledger tells it."""

        def commit_and_kill(connection):
            connection.commit()
            server.kill()
            raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")

        original = resources.ispyb.dialect.do_commit
        at_commit(resources.ispyb, lambda: setattr(resources.ispyb.dialect, "do_commit", once))

        def once(connection):
            resources.ispyb.dialect.do_commit = original
            commit_and_kill(connection)

        step = RunningStep(store_in_ispyb, LIST, resources)
        step.put({})
        await until(lambda: "waiting for ISPyB" in log.text)
        await asyncio.to_thread(server.start)
        await until(lambda: step.sent, RECOVERY_S)
        await step.end()
        assert "was written before" in log.text
        assert count(resources.ispyb, *ONE_LIST) == ONE_LIST

    async def test_frozen_for_a_while(self, server, resources, log, monkeypatch):
        """It takes the connection but doesn't answer: time-outs bound the wait, and the rows come when it goes on."""
        monkeypatch.setattr(ispyb_connection, "ANSWER_TIMEOUT_S", 1)
        step = RunningStep(store_in_ispyb, LIST, resources)
        with server.frozen():
            step.put({})
            await until(lambda: "waiting for ISPyB" in log.text)
            assert step.sent == []
        await until(lambda: step.sent, RECOVERY_S)
        await step.end()
        assert count(resources.ispyb, *ONE_LIST) == ONE_LIST
        assert said_once(log)

    async def test_frozen_at_a_commit_which_it_carries_out_later(self, server, resources, log, monkeypatch):
        """The commit lies in the server's mailbox while the writer gives up and tries anew: still one row."""
        monkeypatch.setattr(ispyb_connection, "ANSWER_TIMEOUT_S", 1)
        thaw = threading.Event()
        is_frozen = threading.Event()

        def freeze():
            def hold():
                with server.frozen():
                    is_frozen.set()
                    thaw.wait(30)

            threading.Thread(target=hold).start()
            is_frozen.wait(10)

        at_commit(resources.ispyb, freeze)
        step = RunningStep(store_in_ispyb, LIST, resources)
        step.put({})
        await until(lambda: "waiting for ISPyB" in log.text)
        thaw.set()
        await until(lambda: step.sent, RECOVERY_S)
        await step.end()
        assert (count(resources.ispyb, *ONE_LIST), step.refused) == (ONE_LIST, [])

    async def test_restarted_between_two_messages_unnoticed(self, server, resources, log):
        step = RunningStep(store_in_ispyb, LIST, resources)
        step.put({})
        await until(lambda: len(step.sent) == 1)
        server.kill()
        await asyncio.to_thread(server.start)
        step.put({})
        await until(lambda: len(step.sent) == 2)
        await step.end()
        assert count(resources.ispyb, "AutoProcProgram") == {"AutoProcProgram": 2}
        assert "waiting" not in log.text

    async def test_connection_idle_for_too_long_unnoticed(self, server, resources, log):
        server.execute("SET GLOBAL wait_timeout = 2")
        try:
            step = RunningStep(store_in_ispyb, LIST, resources)
            step.put({})
            await until(lambda: len(step.sent) == 1)
            idle = "SELECT count(*) FROM information_schema.processlist WHERE user = 'plaza'"
            await until(lambda: server.execute(idle) == ["0"])
        finally:
            server.execute("SET GLOBAL wait_timeout = 28800")
        step.put({})
        await until(lambda: len(step.sent) == 2)
        await step.end()
        assert "waiting" not in log.text

    async def test_connection_ended_by_an_administrator_within_a_transaction(self, server, resources, log):
        end_all = "SELECT concat('KILL ', id) FROM information_schema.processlist WHERE user = 'plaza'"
        at_statement("INSERT INTO plaza_ledger", resources.ispyb, lambda: server.execute(*server.execute(end_all)))
        step = RunningStep(store_in_ispyb, LIST, resources)
        step.put({})
        await until(lambda: step.sent)
        await step.end()
        assert count(resources.ispyb, *ONE_LIST) == ONE_LIST
        assert said_once(log)

    async def test_killed_while_images_stream_in(self, server, resources, log):
        step = RunningStep(store_in_ispyb, IMAGES, resources)
        step.put(*({"file-number": number, "n_spots_total": number} for number in range(1, 1501)))
        await until(lambda: step.sent)
        server.kill()
        step.put(*({"file-number": number, "n_spots_total": number} for number in range(1501, 2001)))
        await until(lambda: "waiting for ISPyB" in log.text)
        await asyncio.to_thread(server.start)
        await until(lambda: len(step.sent) == 2000)
        await step.end()
        assert count(resources.ispyb, "ImageQualityIndicators") == {"ImageQualityIndicators": 2000}

    @pytest.mark.parametrize(
        ("code", "text"),
        [
            (1021, "Disk full (/tmp/#sql); waiting for someone to free some space"),
            (1030, 'Got error 28 "No space left on device" from storage engine InnoDB'),
            (1114, "The table 'AutoProcProgram' is full"),
            (1203, "User plaza already has more than 'max_user_connections' active connections"),
            (1205, "Lock wait timeout exceeded; try restarting transaction"),
            (1213, "Deadlock found when trying to get lock; try restarting transaction"),
        ],
    )
    async def test_fault_that_the_server_says_will_pass(self, code, text, server, resources, log):
        server.execute(
            "CREATE TRIGGER ispyb.fault BEFORE INSERT ON ispyb.AutoProcProgram FOR EACH ROW "
            f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = \"{text.replace(chr(34), chr(39))}\""
        )
        try:
            step = RunningStep(store_in_ispyb, LIST, resources)
            step.put({})
            await until(lambda: "waiting for ISPyB" in log.text)
            assert step.refused == []
        finally:
            server.execute("DROP TRIGGER ispyb.fault")
        await until(lambda: step.sent, RECOVERY_S)
        await step.end()
        assert count(resources.ispyb, *ONE_LIST) == ONE_LIST
        assert said_once(log)


@only_sqlite
async def test_full_file(resources, engine, log):
    """SQLite has room for no more pages, then has."""
    limit = {"pages": 0}

    def set_limit(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {limit['pages'] or 1_000_000}").close()

    event.listen(resources.ispyb, "checkout", set_limit)
    with engine.connect() as connection:
        limit["pages"] = connection.scalar(text("PRAGMA page_count"))
    step = RunningStep(store_in_ispyb, IMAGES, resources)
    step.put(*({"file-number": number, "n_spots_total": number} for number in range(1, 2001)))
    await until(lambda: "waiting for ISPyB" in log.text)
    assert "full" in log.text
    limit["pages"] = 0
    await until(lambda: len(step.sent) == 2000)
    await step.end()
    assert (count(engine, "ImageQualityIndicators"), step.refused) == ({"ImageQualityIndicators": 2000}, [])
    assert said_once(log)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of the size that is asked for."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = []

    def mount(megabytes):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", disk], capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(disk)
        return disk

    yield mount
    for one in mounted:
        subprocess.run(["umount", "--lazy", one], check=True)


def fill(disk):
    """Leave no room, and return the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@only_sqlite
async def test_full_disk_below_sqlite(settings, small_disk, log):
    disk = small_disk(8)
    file = shutil.copy(settings.home / "ispyb.sqlite", disk)
    async with SiteResources(settings.model_copy(update={"ispyb_url": f"sqlite:///{file}"})) as resources:
        step = RunningStep(store_in_ispyb, IMAGES, resources)
        step.put({"file-number": 1, "n_spots_total": 1})
        await until(lambda: step.sent)
        ballast = fill(disk)
        step.put(*({"file-number": number, "n_spots_total": number} for number in range(2, 2001)))
        await until(lambda: "waiting for ISPyB" in log.text)
        ballast.unlink()
        await until(lambda: len(step.sent) == 2000)
        await step.end()
        assert count(resources.ispyb, "ImageQualityIndicators") == {"ImageQualityIndicators": 2000}
        assert said_once(log)


@pytest.mark.mariadb
@pytest.mark.slow
async def test_full_disk_below_mariadb(tmp_path, small_disk, log, monkeypatch):
    disk = small_disk(320)
    monkeypatch.setenv("PLAZA_DEV_MARIADB_DATA", str(disk / "data"))
    with dev_mariadb(tmp_path / "dev-cluster") as server:
        url = server.make_database("ispyb").render_as_string(hide_password=False)
        async with SiteResources(Settings(home=tmp_path, ispyb_url=url)) as resources:
            ballast = fill(disk)
            step = RunningStep(store_in_ispyb, IMAGES, resources)
            images = 20_000
            step.put(*({"file-number": number, "n_spots_total": number} for number in range(1, images + 1)))
            await until(lambda: "waiting for ISPyB" in log.text, 120)
            assert "full" in log.text
            ballast.unlink()
            await until(lambda: len(step.sent) == images, 120)
            await step.end()
            assert count(resources.ispyb, "ImageQualityIndicators") == {"ImageQualityIndicators": images}
            assert said_once(log)
