"""ISPyB is written by users that have what Diamond's published roles grant, and no more."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool
from typer.testing import CliRunner

from blocks.errors import ConfigurationError, DatabaseUnavailable, MessageRefused
from blocks.ispyb_connection import open_engine
from flows.cli.ispyb.tables import app
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.recipe import recipe_from_document
from flows.resources import SiteResources
from tasks.ispyb_access.overviews.results import read_written_rows
from tasks.ispyb_access.reading.reader import read_data_collection
from tasks.ispyb_access.writing.commands.image_quality import PerImageResult
from tasks.ispyb_access.writing.fulfilment import answer_all, fulfil
from tasks.ispyb_access.writing.grants.granted import granted_to, inactive_roles
from tasks.ispyb_access.writing.grants.needs import Right
from tasks.ispyb_access.writing.grants.procedures import not_executable
from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter
from tasks.ispyb_access.writing.requests import Request
from tasks.ispyb_access.writing.writer import SqlWriter
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.runner import try_step
from tests.support import ispyb_roles
from tests.support.dev_mariadb import only_mariadb

pytestmark = [only_mariadb, pytest.mark.filterwarnings("ignore:Call to deprecated function stored_results")]

TABLES = {"as for long": ispyb_roles.OLD, "as now": ispyb_roles.NEW, "as now, with UPDATE": ispyb_roles.WITH_UPDATE}
TWO_USERS, ONE_USER, WRITER_ONLY = "two users", "one user", "the writer only"


@pytest.fixture
def settings_of(users, settings):
    """Return settings that name a site's users."""

    def of(site=TWO_USERS, tables=ispyb_roles.NEW):
        made = {name: url.render_as_string(hide_password=False) for name, url in users(tables).items()}
        writing = made["one_user" if site == ONE_USER else "zocalo"]
        reading = made["reader"] if site == TWO_USERS else None
        return settings.model_copy(update={"ispyb_url": writing, "ispyb_read_url": reading})

    return of


@contextmanager
def connected_users() -> Iterator[set[str]]:
    """Note as whom connections are made."""
    seen = set()

    def note(connection, _):
        with connection.cursor() as cursor:
            cursor.execute("SELECT CURRENT_USER()")
            seen.add(cursor.fetchone()[0].partition("@")[0])

    event.listen(Pool, "connect", note)
    try:
        yield seen
    finally:
        event.remove(Pool, "connect", note)


@pytest.fixture
def store():
    """Handle messages by the connector's step as a site's users, and return what came of it."""

    async def store(settings, parameters, *payloads):
        with connected_users() as seen:
            async with SiteResources(settings) as resources:
                outcome = await try_step(store_in_ispyb, {"parameters": parameters}, payloads, resources)
        assert seen
        assert seen <= {"zocalo", "reader", "one_user"}
        return outcome

    return store


def results(outcome):
    assert outcome.refused == []
    return [send.payload["result"] for send in outcome.sent if send.output == "output"]


CRYSTAL = {"centre_of_mass": [2.5, 1.25], "max_voxel": [2, 1], "n_voxels": 4, "total_count": 700, "status": "ok"}
CENTRING = {"ispyb_command": "insert_xray_centring"}


def centring(*crystals):
    return {"type": "2d", "status": "success" if crystals else "fail", "results": list(crystals)}


class TestCentring:
    @pytest.mark.parametrize("site", [TWO_USERS, ONE_USER, WRITER_ONLY])
    @pytest.mark.parametrize("tables", ["as now", "as now, with UPDATE"])
    @pytest.mark.parametrize("names_group", [True, False])
    async def test_a_grid_is_centred_twice(self, site, tables, names_group, settings_of, store, grid, rows):
        dcid, group, grid_id = grid
        parameters = CENTRING | {"dcid": dcid} | ({"dcid-group": group} if names_group else {})
        settings = settings_of(site, TABLES[tables])
        first, again = [results(await store(settings, parameters, centring(CRYSTAL))) for _ in range(2)]
        assert first == again
        assert rows("XrayCentring", "xrayCentringId", "dataCollectionGroupId", "status") == [(*first, group, "success")]
        assert rows("XrayCentringResult", "xrayCentringId", "gridInfoId", "numberOfVoxels", "centreOfMassY") == [
            (*first, grid_id, 4, 1.25)
        ]

    @pytest.mark.parametrize(("tables", "is_new"), [("as now", True), ("as now, with UPDATE", False)])
    async def test_another_result_counts_from_then_on(self, tables, is_new, settings_of, store, grid, rows, engine):
        dcid, _, _ = grid
        settings, parameters = settings_of(TWO_USERS, TABLES[tables]), CENTRING | {"dcid": dcid}
        better, two = CRYSTAL | {"n_voxels": 5, "sample_id": None}, (CRYSTAL, CRYSTAL | {"n_voxels": 2})
        (first,), (second,), (third,), (again,) = [
            results(await store(settings, parameters, centring(*crystals)))
            for crystals in ((CRYSTAL,), (better,), two, two)
        ]
        assert (first != second, second != third, third == again) == (is_new, is_new, True)
        assert [found.voxels for found in read_written_rows(engine, dcid).centrings] == [4, 2]
        assert len(rows("XrayCentring", "xrayCentringId")) == (3 if is_new else 1)

    @pytest.mark.parametrize("tables", ["as now", "as now, with UPDATE"])
    async def test_fewer_crystals_than_before_leave_none_of_those(self, tables, settings_of, store, grid, engine):
        dcid, _, _ = grid
        settings, parameters = settings_of(TWO_USERS, TABLES[tables]), CENTRING | {"dcid": dcid}
        for crystals in ((CRYSTAL, CRYSTAL), (CRYSTAL | {"n_voxels": 9},)):
            results(await store(settings, parameters, centring(*crystals)))
        assert [found.voxels for found in read_written_rows(engine, dcid).centrings] == [9]

    async def test_a_grid_without_a_crystal_is_written_once(self, settings_of, store, grid, rows):
        dcid, _, _ = grid
        settings = settings_of()
        for _ in range(2):
            results(await store(settings, CENTRING | {"dcid": dcid}, centring()))
        assert rows("XrayCentring", "status") == [("failed",)]

    @pytest.mark.parametrize("site", [TWO_USERS, WRITER_ONLY])
    async def test_unknown_collection_is_refused(self, site, settings_of, store):
        outcome = await store(settings_of(site), CENTRING | {"dcid": 4711}, centring(CRYSTAL))
        ((_, error),) = outcome.refused
        assert isinstance(error, MessageRefused)
        assert "or a known dcid" in str(error)

    async def test_where_nobody_may_look_it_is_added_and_the_log_says_so(self, settings_of, store, grid, rows, caplog):
        dcid, _, _ = grid
        blind = {**ispyb_roles.NEW, "XrayCentring": "INSERT", "XrayCentringResult": "INSERT"}
        settings = settings_of(TWO_USERS, blind)
        for _ in range(2):
            results(await store(settings, CENTRING | {"dcid": dcid}, centring(CRYSTAL)))
        assert len(rows("XrayCentring", "xrayCentringId")) == 2
        assert "nobody may read XrayCentring" in caplog.text

    async def test_without_the_right_to_insert_it_is_refused_with_what_to_grant(self, settings_of, store, grid):
        dcid, _, _ = grid
        outcome = await store(settings_of(TWO_USERS, ispyb_roles.OLD), CENTRING | {"dcid": dcid}, centring(CRYSTAL))
        ((_, error),) = outcome.refused
        assert isinstance(error, ConfigurationError)
        assert str(error).startswith(f"insert_xray_centring (dcid {dcid}): ISPyB at mysql+pymysql://zocalo:***@")
        assert "INSERT command denied" in str(error)
        assert "GRANT INSERT ON `ispyb`.`XrayCentring` TO 'zocalo'@'127.0.0.1'" in str(error)


def job_of(dcid, **more):
    return {
        "ispyb_command": "create_ispyb_job", "DCID": dcid, "recipe": "autoprocessing-xia2-dials", "displayname": "xia2",
        "comment": "as asked", "source": "automatic", "autostart": True,
        "parameters": [{"key": "resolution.cc_half_significance_level", "value": "0.1"}, {"key": "a", "value": "1"}],
        "sweeps": [{"DCID": dcid, "start": 1, "end": 10}, {"DCID": dcid, "start": 11, "end": 20}],
        "triggervariables": [{"key": "x", "value": "y"}], **more,
    }  # fmt: skip


class TestJobs:
    @pytest.mark.parametrize("site", [TWO_USERS, ONE_USER, WRITER_ONLY])
    @pytest.mark.parametrize("tables", list(TABLES))
    async def test_a_job_is_made_with_its_parameters_and_sweeps(
        self, site, tables, settings_of, store, add_collection, rows
    ):
        dcid = add_collection()
        outcome = await store(settings_of(site, TABLES[tables]), job_of(dcid), {})
        (job,) = results(outcome)
        assert [send.payload for send in outcome.sent if send.output == "trigger"] == [
            {"parameters": {"x": "y", "ispyb_process": job}}
        ]
        columns = ("processingJobId", "dataCollectionId", "displayName", "comments", "recipe", "automatic")
        assert rows("ProcessingJob", *columns) == [(job, dcid, "xia2", "as asked", "autoprocessing-xia2-dials", 1)]
        assert rows("ProcessingJobParameter", "processingJobId", "parameterKey", "parameterValue") == [
            (job, "resolution.cc_half_significance_level", "0.1"), (job, "a", "1")
        ]  # fmt: skip
        assert rows("ProcessingJobImageSweep", "processingJobId", "dataCollectionId", "startImage", "endImage") == [
            (job, dcid, 1, 10), (job, dcid, 11, 20)
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("site", "more", "jobs"),
        [(TWO_USERS, {}, 1), (ONE_USER, {}, 1), (TWO_USERS, {"source": "sarah"}, 2), (WRITER_ONLY, {}, 2)],
    )
    async def test_an_automatic_job_is_found_again_where_somebody_may_look(
        self, site, more, jobs, settings_of, store, add_collection, rows
    ):
        settings, wanted = settings_of(site), job_of(add_collection(), **more)
        made = [results(await store(settings, wanted, {})) for _ in range(2)]
        assert (len(rows("ProcessingJob", "processingJobId")), made[0] == made[1]) == (jobs, jobs == 1)

    @pytest.mark.parametrize("text", ["I/σ(I) above 1", "é 🧊", "w" * 300])
    async def test_a_text_that_gives_way_is_found_as_it_was_written(
        self, text, settings_of, store, add_collection, rows
    ):
        wanted, settings = job_of(add_collection(), comment=text, displayname=text), settings_of()
        first, again = [results(await store(settings, wanted, {})) for _ in range(2)]
        assert first == again
        assert len(rows("ProcessingJob", "processingJobId")) == 1

    async def test_a_job_whose_texts_are_nearly_the_same_is_another(self, settings_of, store, add_collection, rows):
        dcid, settings = add_collection(), settings_of()
        texts = ("as asked", "As asked", "as asked ")
        made = [results(await store(settings, job_of(dcid, comment=text), {})) for text in (*texts, *texts)]
        assert made[:3] == made[3:]
        assert rows("ProcessingJob", "comments") == [(text,) for text in texts]

    async def test_a_job_with_other_parameters_or_images_is_another(self, settings_of, store, add_collection, rows):
        dcid, settings = add_collection(), settings_of()
        changes = [{}, {"parameters": []}, {"sweeps": []}, {"comment": None}, {"recipe": "autoprocessing-fast-dp"}]
        made = {results(await store(settings, job_of(dcid, **change), {}))[0] for change in (*changes, *changes)}
        assert len(made) == len(changes) == len(rows("ProcessingJob", "processingJobId"))

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"parameters": {"resolution": "1.2 Å", "text": "σ"}}, "expected characters of latin1.* seen 'σ'"),
            ({"parameters": {"σ": "1"}}, "expected characters of latin1.* seen 'σ'"),
            ({"parameters": {"text": "a\0b"}}, "parameterValue: expected text without NULs"),
            ({"recipe": "a\0b"}, "recipe: expected text without NULs"),
            ({"sweeps": [{"DCID": 4711, "start": 1, "end": 2}]}, "ISPyB has no data collection 4711"),
            ({"sweeps": [{"DCID": 1, "start": 1, "end": 2**31}]}, "endImage: expected a number up to"),
        ],
    )
    @pytest.mark.parametrize("site", [TWO_USERS, WRITER_ONLY])
    async def test_a_job_that_can_not_be_whole_is_not_begun(
        self, site, changes, expected, settings_of, store, add_collection, rows
    ):
        outcome = await store(settings_of(site), job_of(add_collection(), **changes), {})
        ((_, error),) = outcome.refused
        assert isinstance(error, MessageRefused)
        assert re.search(f"^create_ispyb_job .*{expected}", str(error))
        assert rows("ProcessingJob", "processingJobId") == []

    async def test_a_job_that_is_left_behind_is_named(self, settings_of, store, add_collection, rows, mariadb, caplog):
        settings = settings_of()
        refuse = "FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no sweeps today'"
        mariadb.execute(f"CREATE TRIGGER ispyb.no_sweeps BEFORE INSERT ON ispyb.ProcessingJobImageSweep {refuse}")
        try:
            outcome = await store(settings, job_of(add_collection()), {})
        finally:
            mariadb.execute("DROP TRIGGER ispyb.no_sweeps")
        ((_, error),) = outcome.refused
        ((job,),) = rows("ProcessingJob", "processingJobId")
        assert "no sweeps today" in str(error)
        assert str(error).endswith(
            f"; ProcessingJob {job} stays in ISPyB without all of its parameters and sweeps: don't run it"
        )
        assert f"ProcessingJob {job} stays in ISPyB" in caplog.text

    async def test_a_job_is_changed(self, settings_of, store, add_collection, rows):
        settings = settings_of()
        (job,) = results(await store(settings, job_of(add_collection()), {}))
        await store(settings, {"ispyb_command": "update_ispyb_job", "job_id": job, "comment": "changed"}, {})
        assert rows("ProcessingJob", "comments", "displayName") == [("changed", "xia2")]


REGISTER = {"ispyb_command": "register_processing", "program": "xia2 dials", "store_result": "program"}
TELL = {"ispyb_command": "add_program_message", "program_id": "$program", "severity": "INFO", "message": "fine"}
END = {"ispyb_command": "update_processing_status", "program_id": "$program", "status": "success", "message": "done"}


def list_of(*commands):
    return {"ispyb_command": "multipart_message", "ispyb_command_list": list(commands)}


def write_until(writer, request, stop):
    """Fulfil a request in a process that is killed before the command of a number, counted from 0."""
    with writer.session("run-1/1") as session:
        count = iter(range(10))

        def carry_out(call):
            if next(count) == stop:
                raise KeyboardInterrupt
            return session(call)

        return answer_all(request.calls(), carry_out).values


class TestLists:
    async def test_sql_and_procedures_follow_each_other_and_see_what_the_others_wrote(
        self, settings_of, store, add_collection, rows
    ):
        dcid = add_collection()
        look = {"ispyb_command": "retrieve_programs_for_job_id", "rpid": "$job", "store_result": "programs"}
        commands = (
            job_of(dcid) | {"store_result": "job"}, REGISTER | {"rpid": "$job"}, TELL, END, look,
            {"ispyb_command": "retrieve_proposal_title", "visit": "mx12345-1"},
        )  # fmt: skip
        outcome = await store(settings_of(), list_of(*commands), {})
        assert results(outcome) == ["Sweet protein"]
        ((program, *facts),) = rows("AutoProcProgram", "autoProcProgramId", "processingStatus", "processingMessage")
        assert facts == [1, "done"]
        assert rows("AutoProcProgramMessage", "autoProcProgramId", "message") == [(program, "fine")]
        (found,) = next(send.environment["programs"] for send in outcome.sent if send.output == "output")
        assert (found["id"], found["status"]) == (program, 1)

    @pytest.mark.parametrize(
        ("commands", "left", "programs"),
        [
            ((REGISTER, END | {"program_id": 4711}), "nothing of the list is written", 0),
            ((REGISTER, TELL, TELL | {"program_id": 4711}), "; the steps before it stay written", 1),
            ((REGISTER, TELL, REGISTER, END | {"program_id": 4711}), "some of the steps before it stay written", 1),
        ],
    )
    async def test_a_list_that_fails_says_what_stays(self, commands, left, programs, settings_of, store, rows):
        outcome = await store(settings_of(), list_of(*commands), {})
        ((_, error),) = outcome.refused
        assert left in str(error)
        assert len(rows("AutoProcProgram", "autoProcProgramId")) == programs

    def test_a_list_that_is_tried_again_goes_on_from_its_last_piece(self, users, rows, monkeypatch):
        call, faults = ProcedureWriter.call, [DatabaseUnavailable("gone"), DatabaseUnavailable("gone again")]

        def call_in_the_end(self, name, parameters):
            if faults:
                raise faults.pop()
            return call(self, name, parameters)

        monkeypatch.setattr(ProcedureWriter, "call", call_in_the_end)
        engine = open_engine(users()["zocalo"])
        writer, request = SqlWriter(engine), Request("multipart_message", (list_of(REGISTER, TELL, END),), {})
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                fulfil(request, writer, "run-1/1")
        fulfil(request, writer, "run-1/1")
        assert rows("AutoProcProgram", "processingStatus", "processingMessage") == [(1, "done")]
        assert len(rows("AutoProcProgramMessage", "autoProcProgramMessageId")) == 1
        fulfil(request, writer, "run-1/1")  # it remembers no longer than it must
        assert len(rows("AutoProcProgram", "autoProcProgramId")) == 2
        writer.close()
        engine.dispose()

    @pytest.mark.parametrize("killed", [0, 1, 2])
    def test_with_a_ledger_another_process_goes_on_from_the_last_piece(self, killed, users, mariadb, rows):
        url = users({**ispyb_roles.NEW, "plaza_ledger": "SELECT, INSERT"})["zocalo"]
        request = Request("multipart_message", (list_of(REGISTER, TELL, END, TELL | {"message": "end"}),), {})
        values = []
        for stop in (killed, None):
            engine = open_engine(url)
            writer = SqlWriter(engine)
            with suppress(KeyboardInterrupt):
                values.append(write_until(writer, request, stop))
            writer.close()
            engine.dispose()
        assert len(values) == 1
        assert rows("AutoProcProgram", "autoProcProgramId", "processingStatus") == [(values[0][0], 1)]
        assert rows("AutoProcProgramMessage", "message") == [("fine",), ("end",)]
        engine = open_engine(url)
        assert fulfil(request, SqlWriter(engine), "run-1/1").values == values[0]
        engine.dispose()
        assert len(rows("AutoProcProgramMessage", "message")) == 2

    async def test_the_same_message_of_a_program_is_one_row(self, settings_of, store, rows):
        await store(settings_of(), list_of(REGISTER, TELL, TELL), {})
        assert len(rows("AutoProcProgramMessage", "autoProcProgramMessageId")) == 1

    async def test_parents_program_is_looked_up_as_the_user_that_reads(self, settings_of, store, run, rows):
        parent = run("register_processing", program="xia2 dials")
        autoproc = run("write_autoproc", program_id=parent)
        scaling = run("insert_scaling", autoproc_id=autoproc, overall={}, innerShell={}, outerShell={})
        results(await store(settings_of(), REGISTER | {"program": "dimple", "scaling_id": scaling}, {}))
        assert rows("AutoProcProgram", "parentAutoProcProgramId", "processingPipelineId") == [(None, 6), (parent, 10)]


def image(number, **values):
    return {"file-number": number, **(values or {"n_spots_total": number, "estimated_d_min": 1.7})}


class TestImages:
    @pytest.mark.parametrize("site", [TWO_USERS, ONE_USER, WRITER_ONLY])
    @pytest.mark.parametrize("tables", ["as for long", "as now"])
    async def test_results_are_added_and_filled_in_without_the_right_to_change_them(
        self, site, tables, settings_of, store, add_collection, rows
    ):
        dcid, settings = add_collection(), settings_of(site, TABLES[tables])
        parameters = {"ispyb_command": "store_per_image_analysis_results", "dcid": dcid}
        everything = [image(number) for number in range(1, 301)]
        for images in (everything[:200], everything, [image(7, dozor_score=1.5)]):
            assert len(results(await store(settings, parameters, *images))) == len(images)
        found = rows("ImageQualityIndicators", "imageNumber", "spotTotal", "dozor_score")
        assert found == [(number, number, 1.5 if number == 7 else None) for number in range(1, 301)]

    def test_what_is_written_already_costs_no_procedure(self, users, add_collection, monkeypatch):
        made = users()
        engine, reading = open_engine(made["zocalo"]), open_engine(made["reader"])
        writer, dcid = SqlWriter(engine, reading), add_collection()
        monkeypatch.setattr(ProcedureWriter, "call", lambda *_: pytest.fail("called"))
        images = [PerImageResult.model_validate(image(number) | {"dcid": dcid}) for number in range(1, 101)]
        for _ in range(2):
            writer.write_images(images)
        for each in (writer, engine, reading):
            (each.close if each is writer else each.dispose)()


async def test_a_recipe_centres_its_grid_and_makes_a_job(settings_of, grid, rows, tmp_path):
    """Per-image results, centring and a job, on the engine."""
    dcid, group, grid_id = grid
    spots = {"file-seen-at": 1714566615.0, "estimated_d_min": 1.7}
    images = [image(number, n_spots_total=50 if number in (7, 8) else 0, **spots) for number in range(1, 21)]
    document = {
        "1": {"queue": "ispyb_pia", "parameters": {"ispyb_command": "store_per_image_analysis_results", "dcid": dcid}},
        "2": {
            "queue": "reduce.xray_centering",
            "parameters": {"dcid": dcid, "experiment_type": "Mesh", "beamline": "i03", "output": f"{tmp_path}/c.json"},
            "gridinfo": {"steps_x": 5, "steps_y": 4, "dx_mm": 0.02, "dy_mm": 0.02, "orientation": "horizontal",
                         "snaked": 0, "snapshot_offsetXPixel": 10, "snapshot_offsetYPixel": 20,
                         "micronsPerPixelX": 1, "micronsPerPixelY": 1, "recordTimeStamp": "2024-05-01T12:30:15"},
            "output": {"success": 3},
        },
        "3": {"queue": "ispyb_connector", "parameters": CENTRING | {"dcid": dcid, "dcid-group": group},
              "output": {"output": 4}},
        "4": {"queue": "ispyb_connector", "parameters": job_of(dcid)},
        "start": [[node, one] for one in images for node in (1, 2)],
    }  # fmt: skip
    settings = settings_of()
    with connected_users() as seen:
        for run in ("run-1", "run-2"):  # the second is for the same event, sent again
            async with SiteResources(settings) as resources:
                recipe = recipe_from_document(document)
                records = await asyncio.wait_for(RecipeRun(recipe, run, resources).run(), 60)
            assert {number: record.fault for number, record in records.items()} == dict.fromkeys((1, 2, 3, 4))
    assert seen == {"zocalo", "reader"}
    ((centring_id, found),) = rows("XrayCentringResult", "xrayCentringId", "gridInfoId")
    assert (found, rows("XrayCentring", "xrayCentringId")) == (grid_id, [(centring_id,)])
    assert len(rows("ImageQualityIndicators", "imageNumber")) == 20
    assert rows("ProcessingJob", "dataCollectionId") == [(dcid,)]
    assert (
        len(rows("ProcessingJobParameter", "parameterKey")) == len(rows("ProcessingJobImageSweep", "startImage")) == 2
    )


class TestCheck:
    """`plaza ispyb check` says what the users may not do."""

    def check(self, settings, monkeypatch):
        monkeypatch.setattr("blocks.settings.get_settings", lambda: settings)
        monkeypatch.setenv("PREFECT_API_URL", "http://nowhere.example")
        return CliRunner().invoke(app, ["check"])

    def test_each_command_has_its_way_and_what_would_have_to_be_granted(self, settings_of, monkeypatch):
        told = self.check(settings_of(), monkeypatch)
        ways = dict(re.findall(r"^(\w+)  +(?:scaling_id +)?(.*)$", told.output, re.MULTILINE))
        assert told.exit_code == 1
        assert ways["add_program_attachment"] == ways["update_processing_status"] == "by SQL"
        assert ways["insert_xray_centring"] == "by SQL, looking things up as the user for reading"
        assert ways["create_ispyb_job"].startswith("by procedures: upsert_processing_job, upsert_processing_job_param")
        assert ways["store_per_image_analysis_results"].startswith("by SQL for new images, by procedures for others")
        assert ways["buffer"] == "not at all"
        assert "GRANT SELECT, INSERT, UPDATE ON `ispyb`.`zc_ZocaloBuffer` TO 'zocalo'@'127.0.0.1'" in told.output
        assert "reader@127.0.0.1 may not read all that is read: GRANT SELECT ON `ispyb`.`Event`" in told.output
        assert "There is no ledger" in told.output
        assert "zocalo:***@" in told.output

    def test_who_may_do_everything_is_told_nothing_more(self, settings, monkeypatch):
        told = self.check(settings, monkeypatch)
        assert (told.exit_code, told.output.count("\n")) == (0, 1)
        assert "has all that Plaza uses" in told.output

    def test_what_a_single_user_lacks_is_told_of_both_its_tasks(self, settings_of, monkeypatch):
        told = self.check(settings_of(WRITER_ONLY), monkeypatch)
        assert told.exit_code == 1
        assert re.search(r"^insert_xray_centring  +no dcid-group  .* by procedures: retrieve_dc$", told.output, re.M)
        assert "zocalo@127.0.0.1 may not read all that is read" in told.output

    @pytest.mark.parametrize("choice", [0, -1])
    def test_what_it_tells_to_grant_is_all_that_lacks(self, choice, settings_of, monkeypatch, mariadb):
        """By either choice, each command can be carried out then."""
        settings = settings_of(TWO_USERS, ispyb_roles.OLD)
        told = self.check(settings, monkeypatch)
        advice = re.findall(r"Have (?:its|the) administrator do: (.*)", told.output)
        statements = [one for each in advice for one in each.split(" -- or: ")[choice].rstrip(".").split("; ")]
        (read,) = re.findall(r"may not read all that is read: (.*)", told.output)
        assert all(one.startswith("GRANT ") for one in statements)
        mariadb.execute(*statements, *read.split("; "))
        told = self.check(settings, monkeypatch)
        assert (told.exit_code, "not at all" in told.output, "GRANT" in told.output) == (0, False, False)

    def test_who_writes_by_procedures_only_is_told_of_those(self, settings_of, monkeypatch, mariadb):
        settings = settings_of().model_copy(update={"ispyb_writer": "procedures"})
        mariadb.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ispyb.* TO zocalo@'127.0.0.1'")
        told = self.check(settings, monkeypatch)
        ways = dict(re.findall(r"^(\w+)  +(.*)$", told.output, re.MULTILINE))
        assert told.exit_code == 1
        assert ways["add_program_message"] == "by procedures: upsert_processing_program_message"
        assert ways["insert_pdb_files"] == ways["register_processing"] == "not at all"
        assert "insert_pdb_files can't be written. No procedure does that: nothing writes PDB files" in told.output
        assert re.search(
            r"^register_processing can't .*: GRANT EXECUTE .*`upsert_processing_program_v2`", told.output, re.M
        )

    @pytest.mark.parametrize(
        ("procedure", "command", "given"),
        [
            ("upsert_quality_indicators", "store_per_image_analysis_results", "known images"),
            ("retrieve_dc", "create_ispyb_job", "no sweeps"),
            ("retrieve_dc_group_v2", "insert_data_collection", "no session_id"),
        ],
    )
    def test_what_only_some_need_is_told_of_those(self, procedure, command, given, settings_of, monkeypatch, mariadb):
        settings = settings_of(WRITER_ONLY)
        mariadb.execute(f"REVOKE EXECUTE ON PROCEDURE ispyb.{procedure} FROM {ispyb_roles.PROCESSING}")
        told = self.check(settings, monkeypatch)
        assert re.search(rf"^{command}  +{given}  +not at all", told.output, re.M)
        assert re.search(
            rf"^{command} \({given}\) can't .*GRANT EXECUTE ON PROCEDURE .*`{procedure}`", told.output, re.M
        )

    def test_procedure_of_another_version_is_not_called(self, ispyb, settings_of, monkeypatch, mariadb, made):
        made.discard(ispyb.database)
        name = "upsert_processing_program_message"
        mariadb.execute(f"USE ispyb; CREATE OR REPLACE PROCEDURE {name}(INOUT p_id INT, a INT, b INT) SELECT 1")
        told = self.check(settings_of(), monkeypatch)
        assert re.search(r"^add_program_message  +not at all", told.output, re.M)
        assert f"Procedure {name} has 3 parameters, not 5" in told.output

    def test_ledger_that_can_be_made_does_not_lack(self, settings_of, monkeypatch, mariadb):
        settings = settings_of()
        mariadb.execute("GRANT CREATE ON ispyb.* TO zocalo@'127.0.0.1'")
        assert "There is no ledger" not in self.check(settings, monkeypatch).output

    def test_what_could_not_be_found_again_is_told(self, settings_of, monkeypatch):
        blind = {**ispyb_roles.NEW, "XrayCentring": "SELECT, INSERT", "XrayCentringResult": "INSERT"}
        told = self.check(settings_of(TWO_USERS, blind), monkeypatch)
        assert "insert_xray_centring can't find what was written before" in told.output
        assert "GRANT SELECT ON `ispyb`.`XrayCentring` TO 'reader'@'127.0.0.1'" in told.output

    def test_role_without_which_one_may_not_come_in_is_told(self, settings_of, monkeypatch, mariadb):
        settings = settings_of()
        mariadb.execute("SET DEFAULT ROLE NONE FOR zocalo@'127.0.0.1'")
        told = self.check(settings, monkeypatch)
        assert told.exit_code != 0
        assert "SET DEFAULT ROLE `ispyb_processing` FOR 'zocalo'@'127.0.0.1'" in f"{told.output}{told.exception}"


class TestReading:
    def test_a_collection_is_read_without_its_events_if_those_are_not_for_us(self, users, add_collection, caplog, run):
        engine = open_engine(users()["reader"])
        assert read_data_collection(engine, add_collection(), "guid-1").recipe_parameters()["ispyb_image_first"] == 1
        assert "without its events: (1142" in caplog.text
        engine.dispose()


class TestGrants:
    """What the server says of a user's rights."""

    @pytest.mark.parametrize(
        ("grants", "expected"),
        [
            (["GRANT ALL PRIVILEGES ON ispyb.* TO {user}"], ("SELECT, INSERT, UPDATE, DELETE", True)),
            (["GRANT SELECT, INSERT ON *.* TO {user}"], ("SELECT, INSERT", False)),
            (["GRANT SELECT ON `isp_b%`.* TO {user}", "GRANT DELETE ON ispyb.XrayCentringResult TO {user}"],
             ("SELECT, DELETE", False)),
            (["GRANT SELECT ON ispyb.* TO {user}", "GRANT UPDATE (status) ON ispyb.XrayCentringResult TO {user}"],
             ("SELECT", False)),
            (["GRANT EXECUTE ON PROCEDURE ispyb.upsert_processing_job TO {user}"], ("", True)),
            (["GRANT INSERT ON ispyb.XrayCentringResult TO some_role", "GRANT some_role TO {user}",
              "SET DEFAULT ROLE some_role FOR {user}"], ("INSERT", False)),
        ],
    )  # fmt: skip
    def test_all_forms_of_grants_are_understood(self, grants, expected, mariadb, ispyb):
        user = "somebody@'127.0.0.1'"
        mariadb.execute(
            "CREATE OR REPLACE ROLE some_role",
            f"CREATE OR REPLACE USER {user} IDENTIFIED BY 'p'",
            *(grant.format(user=user) for grant in grants),
        )
        engine = open_engine(ispyb.set(username="somebody", password="p"))
        if not any("ispyb.*" in grant or "*.*" in grant for grant in grants):
            mariadb.execute(f"GRANT SELECT ON ispyb.AdminVar TO {user}")  # or it can't come in
        granted = granted_to(engine)
        held = [right for right in Right if granted.may(right, "XrayCentringResult")]
        assert (", ".join(str(right) for right in held), not not_executable(engine, {"upsert_processing_job": 6})) == (
            expected
        )
        engine.dispose()
        mariadb.execute(f"DROP USER {user}", "DROP ROLE some_role")

    async def test_role_that_is_not_active_is_said(self, users, settings, mariadb, store, add_collection):
        url = users()["zocalo"]
        mariadb.execute(
            "SET DEFAULT ROLE NONE FOR zocalo@'127.0.0.1'", "GRANT SELECT ON ispyb.AdminVar TO zocalo@'127.0.0.1'"
        )
        engine = open_engine(url)
        assert inactive_roles(engine) == ("ispyb_processing",)
        engine.dispose()
        limited = settings.model_copy(update={"ispyb_url": url.render_as_string(hide_password=False)})
        outcome = await store(limited, job_of(add_collection()), {})
        assert "SET DEFAULT ROLE `ispyb_processing` FOR 'zocalo'@'127.0.0.1'" in str(outcome.refused[0][1])
