"""Rights come and go while Plaza runs, and users don't answer: nothing is lost or doubled, and it's said what lacks."""

import socket
import threading
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import text

from blocks.errors import ConfigurationError, DatabaseUnavailable, MessageRefused
from blocks.ispyb_connection import open_engine
from tasks.ispyb_access.overviews.results import read_written_rows
from tasks.ispyb_access.writing.commands.image_quality import PerImageResult
from tasks.ispyb_access.writing.composite_commands import MULTIPART
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.grants import granted
from tasks.ispyb_access.writing.grants.granted import granted_to, may_create
from tasks.ispyb_access.writing.grants.procedures import misfits, not_executable
from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_access.writing.writer import SqlWriter
from tests.support import ispyb_roles
from tests.support.dev_mariadb import only_mariadb

pytestmark = [only_mariadb, pytest.mark.filterwarnings("ignore:Call to deprecated function stored_results")]

ZOCALO = "zocalo@'127.0.0.1'"
ROLE = ispyb_roles.PROCESSING
REGISTER = {"ispyb_command": "register_processing", "program": "xia2", "store_result": "program"}
END = {"ispyb_command": "update_processing_status", "program_id": "$program", "status": "success", "message": "done"}
TELL = {"ispyb_command": "add_program_message", "program_id": "$program", "severity": "INFO", "message": "fine"}
CRYSTAL = {"centre_of_mass": [2.5, 1.25], "n_voxels": 4}


@pytest.fixture
def open_writer(users):
    """Open a writer as two users, or as one with the rights of both."""
    opened = []

    def open_writer(tables=ispyb_roles.NEW, *, reads=True, only_procedures=False):
        made = users(tables)
        engine, reading = open_engine(made["zocalo"]), open_engine(made["reader"]) if reads else None
        writer = ProcedureWriter(engine) if only_procedures else SqlWriter(engine, reading)
        opened.append((writer, engine, reading))
        return writer

    yield open_writer
    for writer, engine, reading in opened:
        writer.close()
        engine.dispose()
        if reading is not None:
            reading.dispose()


def write(writer, *items, entry=None):
    one = items[0] if len(items) == 1 else {"ispyb_command": MULTIPART, "ispyb_command_list": list(items)}
    return fulfil(Request(one["ispyb_command"], (one,), {}), writer, entry).value


def revoke(mariadb, what):
    mariadb.execute(f"REVOKE {what} FROM {ROLE}")


def job_of(dcid, **more):
    sweep = {"DCID": dcid, "start": 1, "end": 10}
    return {"ispyb_command": "create_ispyb_job", "DCID": dcid, "source": "automatic", "sweeps": [sweep], **more}


def file_of(program, path):
    path.touch()
    return {"ispyb_command": "add_program_attachment", "program_id": program, "file_path": str(path.parent),
            "file_name": path.name}  # fmt: skip


class TestRevoked:
    def test_right_that_went_is_told(self, open_writer, mariadb):
        writer = open_writer()
        write(writer, REGISTER)
        revoke(mariadb, "INSERT ON ispyb.AutoProcProgram")
        with pytest.raises(ConfigurationError, match=r"do: GRANT INSERT ON `ispyb`.`AutoProcProgram` TO 'zocalo'@"):
            write(writer, REGISTER)

    def test_procedure_that_went_is_told(self, open_writer, mariadb, add_collection):
        writer, job = open_writer(), job_of(add_collection())
        write(writer, job)
        revoke(mariadb, "EXECUTE ON PROCEDURE ispyb.upsert_processing_job")
        with pytest.raises(ConfigurationError, match=r"GRANT EXECUTE ON PROCEDURE `ispyb`.`upsert_processing_job` TO"):
            write(writer, job | {"comment": "another"})

    def test_what_was_for_the_user_that_reads_is_told(self, open_writer, mariadb, grid):
        writer, centring = open_writer(), {"ispyb_command": "insert_xray_centring", "dcid": grid[0], "results": []}
        write(writer, centring)
        mariadb.execute(
            f"REVOKE SELECT ON ispyb.GridInfo FROM {ispyb_roles.READING}",
            f"REVOKE EXECUTE ON PROCEDURE ispyb.retrieve_grid_info_for_dc FROM {ROLE}",
        )
        with pytest.raises(ConfigurationError, match=r"GRANT SELECT ON `ispyb`.`GridInfo` TO 'reader'@"):
            write(writer, centring)

    def test_another_way_is_found(self, open_writer, mariadb, tmp_path, rows):
        writer = open_writer()
        program = write(writer, REGISTER)
        write(writer, file_of(program, tmp_path / "a.log"))
        revoke(mariadb, "INSERT ON ispyb.AutoProcProgramAttachment")
        with pytest.raises(DatabaseUnavailable, match="now it can be done by procedures"):
            write(writer, file_of(program, tmp_path / "b.log"))
        write(writer, file_of(program, tmp_path / "b.log"))
        assert rows("AutoProcProgramAttachment", "fileName") == [("a.log",), ("b.log",)]

    def test_procedure_that_was_replaced_is_told(self, open_writer, mariadb, ispyb, made):
        writer, name = open_writer(), "upsert_processing_program_message"
        program = write(writer, REGISTER)
        write(writer, TELL | {"program_id": program})
        made.discard(ispyb.database)
        mariadb.execute(f"USE ispyb; CREATE OR REPLACE PROCEDURE {name}(INOUT p_id INT, a INT, b INT) SELECT 1")
        with pytest.raises(
            ConfigurationError, match=r"expected 3, got 5.*GRANT INSERT.*has 3 parameters, not 5"
        ) as told:
            write(writer, TELL | {"program_id": program, "message": "another"})
        assert "=sql" not in str(told.value)

    def test_who_writes_by_procedures_only_is_told_which(self, open_writer, mariadb, add_collection):
        writer = open_writer(only_procedures=True)
        revoke(mariadb, "EXECUTE ON PROCEDURE ispyb.upsert_processing_job")
        with pytest.raises(ConfigurationError, match=r"GRANT EXECUTE ON PROCEDURE `ispyb`.`upsert_processing_job` TO"):
            write(writer, job_of(add_collection()))
        revoke(mariadb, "EXECUTE ON PROCEDURE ispyb.upsert_quality_indicators")
        with pytest.raises(ConfigurationError, match=r"GRANT EXECUTE .*`upsert_quality_indicators` TO"):
            writer.write_images([PerImageResult.model_validate({"dcid": 1, "file-number": 1, "n_spots_total": 1})])

    def test_what_cannot_be_done_again_is_not_kept(self, open_writer, mariadb):
        """A list that is refused half-way has written what procedures have; nobody sends it again under its name."""
        writer = open_writer()
        program = write(writer, REGISTER)
        revoke(mariadb, "INSERT ON ispyb.AutoProcProgram")
        with pytest.raises(ConfigurationError):
            write(writer, TELL | {"program_id": program}, REGISTER, entry="run/1/list")
        assert writer._unfinished == {}


class TestGranted:
    def test_right_that_came_after_a_refusal_is_used_at_once(self, open_writer, mariadb, grid, rows):
        writer, centring = open_writer(ispyb_roles.OLD), {"dcid": grid[0], "results": [CRYSTAL]}
        centring |= {"ispyb_command": "insert_xray_centring"}
        with pytest.raises(ConfigurationError):
            write(writer, centring)
        for table in ("XrayCentring", "XrayCentringResult"):
            mariadb.execute(f"GRANT SELECT, INSERT ON ispyb.{table} TO {ROLE}")
        assert write(writer, centring) == write(writer, centring)
        assert len(rows("XrayCentring", "xrayCentringId")) == 1

    def test_right_that_came_otherwise_is_used_within_a_minute(self, open_writer, mariadb, grid, rows, monkeypatch):
        blind = {**ispyb_roles.NEW, "XrayCentring": "INSERT", "XrayCentringResult": "INSERT"}
        writer, centring = open_writer(blind), {"dcid": grid[0], "results": [CRYSTAL]}
        centring |= {"ispyb_command": "insert_xray_centring"}
        write(writer, centring)
        for table in ("XrayCentring", "XrayCentringResult"):
            mariadb.execute(f"GRANT SELECT ON ispyb.{table} TO {ROLE}")
        now = granted.monotonic()
        monkeypatch.setattr(granted, "monotonic", lambda: now + granted.KEPT_S + 1)
        write(writer, centring)
        assert len(rows("XrayCentring", "xrayCentringId")) == 1

    def test_ledger_that_another_process_made_is_used(self, ispyb, mariadb, rows):
        mariadb.execute("DROP TABLE IF EXISTS ispyb.plaza_ledger")
        first, second = open_engine(ispyb), open_engine(ispyb)
        granted_to(first)  # before there is a ledger
        write(SqlWriter(second), REGISTER, entry="run/1/other")
        writer = SqlWriter(first)
        assert write(writer, REGISTER, entry="run/1/x") == write(writer, REGISTER, entry="run/1/x")
        assert len(rows("AutoProcProgram", "autoProcProgramId")) == 2
        for engine in (first, second):
            engine.dispose()


@contextmanager
def silent_server(url):
    """Give the URL of a server that takes connections and says nothing, and what ends that."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield url.set(host="127.0.0.1", port=listening.getsockname()[1])


def ask_in_vain(engine):
    with pytest.raises(DatabaseUnavailable):
        granted_to(engine)


def test_a_reader_that_hangs_stops_only_those_who_need_it(users, grid, rows):
    made = users({**ispyb_roles.OLD, "ImageQualityIndicators": "SELECT, INSERT"})
    with silent_server(made["reader"]) as url:
        engine, hanging = open_engine(made["zocalo"]), open_engine(url)
        writer = SqlWriter(engine, hanging)
        waiting = threading.Thread(target=ask_in_vain, args=[hanging])
        waiting.start()
        images = [PerImageResult.model_validate({"dcid": grid[0], "file-number": 1, "n_spots_total": 1})]
        writer.write_images(images)
        assert waiting.is_alive()
        assert len(rows("ImageQualityIndicators", "imageNumber")) == 1
    waiting.join(30)
    assert not waiting.is_alive()
    writer.close()
    engine.dispose()
    hanging.dispose()


class TestRoles:
    def test_role_without_which_one_may_not_even_come_in_is_named(self, users, mariadb):
        url = users()["zocalo"]
        mariadb.execute(f"SET DEFAULT ROLE NONE FOR {ZOCALO}")
        engine = open_engine(url)
        with pytest.raises(ConfigurationError, match=rf"SET DEFAULT ROLE `{ROLE}` FOR 'zocalo'@'127.0.0.1'"):
            granted_to(engine)
        with pytest.raises(ConfigurationError, match="SET DEFAULT ROLE"):
            write(SqlWriter(engine), REGISTER)
        engine.dispose()

    def test_procedure_for_everybody_counts(self, ispyb, mariadb):
        mariadb.execute(
            "CREATE OR REPLACE USER somebody@'127.0.0.1' IDENTIFIED BY 'p'",
            "GRANT SELECT ON ispyb.AdminVar TO somebody@'127.0.0.1'",
            "GRANT EXECUTE ON PROCEDURE ispyb.upsert_processing_job TO PUBLIC",
        )
        engine = open_engine(ispyb.set(username="somebody", password="p"))
        calls = {"upsert_processing_job": 6, "upsert_processing_job_parameter": 4}
        assert not_executable(engine, calls) == ("upsert_processing_job_parameter",)
        engine.dispose()
        mariadb.execute(
            "REVOKE EXECUTE ON PROCEDURE ispyb.upsert_processing_job FROM PUBLIC", "DROP USER somebody@'127.0.0.1'"
        )

    def test_procedure_of_another_version_is_told_from_one_that_is_not_granted(self, ispyb, mariadb):
        mariadb.execute(f"USE {ispyb.database}; CREATE OR REPLACE PROCEDURE old_12(a INT, b INT) SELECT 1")
        engine = open_engine(ispyb)
        assert not_executable(engine, {"old_12": 2}) == ()
        assert not_executable(engine, {"old_12": 3}) == ("old_12",)
        assert misfits(engine, {"old_12": 3})[0].startswith("Procedure old_12 has 2 parameters, not 3")
        engine.dispose()
        mariadb.execute(f"DROP PROCEDURE {ispyb.database}.old_12")

    @pytest.mark.parametrize(("rights", "expected"), [("SELECT", False), ("SELECT, CREATE", True)])
    def test_who_may_make_a_table_is_known_without_making_one(self, rights, expected, ispyb, mariadb):
        mariadb.execute(
            "CREATE OR REPLACE USER somebody@'127.0.0.1' IDENTIFIED BY 'p'",
            f"GRANT {rights} ON {ispyb.database}.* TO somebody@'127.0.0.1'",
        )
        engine = open_engine(ispyb.set(username="somebody", password="p"))
        assert may_create(engine, "plaza_trial") is expected
        assert may_create(engine, "AdminVar") is False  # it's there, and could be used if it were for us
        with engine.connect() as connection:
            assert connection.execute(text("SHOW TABLES LIKE 'plaza_trial'")).all() == []
        engine.dispose()
        mariadb.execute("DROP USER somebody@'127.0.0.1'")


class TestEdited:
    """A list that was changed before it came again."""

    @pytest.mark.parametrize("only_procedures", [False, True])
    def test_answers_of_other_commands_are_not_given(self, only_procedures, ispyb, mariadb, users, monkeypatch):
        url = users({**ispyb_roles.NEW, "plaza_ledger": "SELECT, INSERT", "AutoProcProgramMessage": "SELECT"})
        engine = open_engine(url["zocalo"])
        writer = ProcedureWriter(engine) if only_procedures else SqlWriter(engine)
        monkeypatch.setattr(ProcedureWriter, "call", lambda self, name, parameters: 7)
        write(writer, TELL | {"program_id": 1}, TELL | {"program_id": 1}, entry="run/1/list")
        with pytest.raises(MessageRefused, match=r"register_processing: .* written before, but with other"):
            write(writer, TELL | {"program_id": 1}, REGISTER, entry="run/1/list")
        assert write(writer, TELL | {"program_id": 1}, TELL | {"program_id": 1}, entry="run/1/list") == 7
        writer.close()
        engine.dispose()


def test_centrings_are_read_as_the_user_that_may(users, open_writer, grid, caplog):
    writer = open_writer()
    write(writer, {"ispyb_command": "insert_xray_centring", "dcid": grid[0], "results": [CRYSTAL]})
    made = users()
    reading, writing = open_engine(made["reader"]), open_engine(made["zocalo"])
    assert [one.voxels for one in read_written_rows(reading, grid[0], writing).centrings] == [4]
    assert read_written_rows(reading, grid[0]).centrings == ()
    assert "nobody may read XrayCentring" in caplog.text
    reading.dispose()
    writing.dispose()
