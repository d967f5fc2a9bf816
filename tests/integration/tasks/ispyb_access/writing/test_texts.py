"""What a database can't hold as it is: it gives way where people read it, and is refused where programs go by it."""

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy import select

from blocks.errors import MessageRefused
from tasks.ispyb_access.character_sets import replace_unencodable
from tests.support.ispyb_fixtures import CHARACTER_SETS
from tests.support.ispyb_fixtures import every_database as database  # noqa: F401  # a fixture

STATUS = "no indexing: I/σ(I) too low beyond 3.2 Å at 100 K 🧊"


@pytest.fixture
def as_written(database):  # noqa: F811
    """Return what a database has of a text."""
    return lambda text: replace_unencodable(text, CHARACTER_SETS.get(database, "utf8mb4"))


@pytest.fixture
def column(engine):
    """Return the values of a column, oldest first."""

    def column(attribute):
        with engine.connect() as connection:
            return connection.scalars(select(attribute).order_by(*attribute.class_.__table__.primary_key)).all()

    return column


@pytest.fixture
def program(run):
    return run("register_processing", program="xia2 dials")


def test_status_is_written_whatever_its_message(run, program, column, as_written, caplog):
    run("update_processing_status", program_id=program, status="failure", message=STATUS)
    assert column(models.AutoProcProgram.processingStatus) == [0]
    assert column(models.AutoProcProgram.processingMessage) == [as_written(STATUS)]
    told = [message for message in caplog.messages if message.startswith("AutoProcProgram.processingMessage holds")]
    assert len(told) == (as_written(STATUS) != STATUS)


def test_latin1_has_it_readably(run, program, column, database):  # noqa: F811
    run("update_processing_status", program_id=program, status="failure", message=STATUS)
    if database == "mariadb":
        expected = "no indexing: I/sigma(I) too low beyond 3.2 Å at 100 K ?"
        assert column(models.AutoProcProgram.processingMessage) == [expected]


@pytest.mark.parametrize("text", ["1.5 Å", "µm²", "“quoted” – €5", "90.2°", "a 'quote' \\ and 100 %"])
def test_what_every_database_holds_is_written_as_it_is(run, program, column, text, caplog):
    run("add_program_message", program_id=program, severity="INFO", message=text, description=text)
    assert column(models.AutoProcProgramMessage.message) == [text]
    assert column(models.AutoProcProgramMessage.description) == [text]
    assert caplog.messages == []


def test_texts_for_people_give_way(run, column, as_written, add_collection, facility, program):
    text, dcid = "Δφ = 0.1° ≥ 0", add_collection()
    run("add_program_message", program_id=program, severity="INFO", message=text, description=text)
    run("register_processing", program="dimple", cmdline=text, environment={"note": text})
    job = run("create_ispyb_job", DCID=dcid, displayname=text, comment=text)
    run("update_ispyb_job", job_id=job, comment=text + text)
    screening = run("insert_screening", dcid=dcid, comments=text, short_comments=text)
    run("insert_screening_output", screening_id=screening, status_description=text)
    run("insert_data_collection_group", session_id=facility.session, comments=text)
    assert column(models.AutoProcProgramMessage.message) == [as_written(text)]
    assert column(models.AutoProcProgramMessage.description) == [as_written(text)]
    assert column(models.AutoProcProgram.processingCommandLine) == [None, as_written(text)]
    assert column(models.AutoProcProgram.processingEnvironment) == [None, as_written(f"note={text}")]
    assert column(models.ProcessingJob.displayName) == [as_written(text)]
    assert column(models.ProcessingJob.comments) == [as_written(text + text)]
    assert column(models.Screening.comments) == [as_written(text)]
    assert column(models.Screening.shortComments) == [as_written(text)[:20]]
    assert column(models.ScreeningOutput.statusDescription) == [as_written(text)]
    assert column(models.DataCollectionGroup.comments)[-1] == as_written(text)


def test_names_for_letters_do_not_make_a_text_too_long(run, program, column, as_written):
    run("update_processing_status", program_id=program, message="σ" * 80)
    assert column(models.AutoProcProgram.processingMessage) == [as_written("σ" * 80)[:80]]
    run("add_program_message", program_id=program, severity="INFO", message="σ" * 200)
    assert column(models.AutoProcProgramMessage.message) == [as_written("σ" * 200)[:200]]


def test_message_with_such_characters_is_found_again(run, program):
    """The look-up asks for what was written: a server refuses to compare a column with what it can't hold."""
    message = {"program_id": program, "severity": "WARNING", "message": STATUS, "description": "σ 🧊"}
    assert len({run("add_program_message", **message) for _ in range(2)}) == 1


def test_nul_and_lone_surrogates_are_left_out(run, program, column):
    run("add_program_message", program_id=program, severity="INFO", message="no\0 spots\ud83e")
    assert column(models.AutoProcProgramMessage.message) == ["no spots?"]


class TestStrictColumns:
    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "σ.log"
        path.touch()
        return {"file_name": path.name, "file_path": str(tmp_path)}

    @pytest.fixture
    def refuses(self, run, database, column):  # noqa: F811
        """Check that a command is refused where its text can't be held, and that its text is written elsewhere."""

        def refuses(name, attribute, text, **values):
            if database != "mariadb":
                run(name, **values)
                assert text in column(attribute)
                return
            with pytest.raises(MessageRefused, match=f"^{attribute}: expected characters of latin1, .* seen"):
                run(name, **values)
            assert text not in column(attribute)

        return refuses

    def test_file_of_a_program(self, refuses, program, file):
        refuses(
            "add_program_attachment", models.AutoProcProgramAttachment.fileName, "σ.log", program_id=program, **file
        )

    def test_file_of_a_collection(self, refuses, add_collection, file, tmp_path):
        attribute, path = models.DataCollectionFileAttachment.fileFullPath, f"{tmp_path}/σ.log"
        refuses("add_datacollection_attachment", attribute, path, dcid=add_collection(), **file)

    def test_name_of_a_program(self, refuses):
        refuses("register_processing", models.AutoProcProgram.processingPrograms, "xia2 σ", program="xia2 σ")

    def test_parameter_of_a_job(self, refuses, add_collection):
        attribute, parameters = models.ProcessingJobParameter.parameterValue, {"name": "σ"}
        refuses("create_ispyb_job", attribute, "σ", DCID=add_collection(), parameters=parameters)

    def test_recipe_of_a_job(self, refuses, add_collection):
        refuses("create_ispyb_job", models.ProcessingJob.recipe, "σ", DCID=add_collection(), recipe="σ")

    def test_space_group(self, refuses, program):
        refuses("write_autoproc", models.AutoProc.spaceGroup, "P 6₃", program_id=program, spacegroup="P 6₃")


@pytest.mark.parametrize("name", [{"proposalcode": "σχ", "proposalnumber": "1"}, {"visit": "mx1-1"}])
def test_proposal_that_no_database_can_have_is_unknown(run, name):
    with pytest.raises(MessageRefused, match="ISPyB has no proposal"):
        run("retrieve_proposal_title", **name)


class TestStatistics:
    @pytest.fixture
    def autoproc(self, run, program):
        return run("write_autoproc", program_id=program)

    def test_one_that_is_no_number_is_null_and_the_others_are_written(self, run, autoproc, column, caplog):
        shells = {
            "overall": {"cc_half": 0.99, "cc_anom": float("nan"), "n_tot_obs": "NaN"},
            "innerShell": {"cc_half": float("inf"), "r_merge": 0.03},
            "outerShell": {"mean_i_sig_i": "-inf", "completeness": "99.5"},
        }
        run("insert_scaling", autoproc_id=autoproc, **shells)
        statistics = models.AutoProcScalingStatistics
        assert column(statistics.ccHalf) == [pytest.approx(0.99), None, None]
        assert column(statistics.ccAnomalous) == column(statistics.nTotalObservations) == [None] * 3
        assert column(statistics.rMerge) == [None, pytest.approx(0.03), None]
        assert column(statistics.completeness) == [None, None, pytest.approx(99.5)]
        assert "AutoProcScalingStatistics.ccAnomalous: nan is no number that can be written" in caplog.text
        assert len(caplog.messages) == 4

    def test_of_a_row_that_is_changed_it_leaves_what_is_there(self, run, add_collection, column):
        integration = run("upsert_integration", dcid=add_collection(), cell_a=57.8)
        run("upsert_integration", integration_id=integration, cell_a=float("nan"), cell_b=57.9)
        assert column(models.AutoProcIntegration.cell_a) == [pytest.approx(57.8)]
        assert column(models.AutoProcIntegration.cell_b) == [pytest.approx(57.9)]

    def test_centring_with_one_is_written(self, run, add_group, column):
        crystal = {
            "centre_of_mass": [1.5, float("nan")],
            "max_voxel": [1, 2],
            "n_voxels": 3,
            "total_count": float("nan"),
        }
        run("insert_xray_centring", dcgid=add_group(), results=[crystal])
        assert column(models.XrayCentringResult.centreOfMassX) == [1.5]
        assert column(models.XrayCentringResult.centreOfMassY) == column(models.XrayCentringResult.totalCount) == [None]
