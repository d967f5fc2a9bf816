"""The write commands on a real database: what they write, and that doing them twice does no harm."""

import re
from pathlib import PurePosixPath

import pytest
from ispyb import sqlalchemy as models
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Session

from blocks.errors import MessageRefused
from blocks.ispyb_connection import transaction
from tasks.ispyb_access.overviews.collections import find_by_path
from tasks.ispyb_access.overviews.results import read_written_rows
from tasks.ispyb_access.writing.commands.image_quality import PerImageResult, store_per_image_results, upsert
from tests.support.ispyb_fixtures import every_database as database  # noqa: F401  # a fixture

NOW = "now"


@pytest.fixture
def row(engine):
    """Return the columns of a row, read by ISPyB's own models."""

    def row(model, key):
        with Session(engine) as session:
            found = session.get(model, key)
            return {column: getattr(found, column) for column in model.__table__.columns.keys()}  # noqa: SIM118

    return row


def result(number, **values):
    return PerImageResult.model_validate({"dcid": 7, "file-number": number, "n_spots_total": 10} | values)


def store(engine, results):
    with transaction(engine) as connection:
        store_per_image_results(connection, results)


def test_per_image_results_fill_their_columns(engine, run, row):
    message = {
        "dcid": 7,
        "file-number": 3,
        "n_spots_total": 120,
        "n_spots_no_ice": 110,
        "estimated_d_min": 1.8,
        "total_intensity": 5e5,
    }
    assert run("store_per_image_analysis_results", **message) == 1
    written = row(models.ImageQualityIndicators, (7, 3))
    assert written.pop("recordTimeStamp") is not None
    assert {name: value for name, value in written.items() if value is not None} == {
        "dataCollectionId": 7,
        "imageNumber": 3,
        "spotTotal": 120,
        "inResTotal": 120,
        "goodBraggCandidates": 110,
        "method1Res": 1.8,
        "method2Res": 1.8,
        "totalIntegratedSignal": 5e5,
        "iceRings": 0,
        "maxUnitCell": 0,
        "pctSaturationTop50Peaks": 0,
        "inResolutionOvrlSpots": 0,
        "binPopCutOffMethod2Res": 0,
    }


def test_image_is_numbered_within_its_pattern_first(engine):
    assert result(9, **{"file-pattern-index": 4}).image_number == 4


def test_thousands_of_images_are_written_once_however_often_they_come(engine):
    images = [result(number, n_spots_total=number) for number in range(3600, 0, -1)]
    for _ in range(2):
        store(engine, images)
    quality = read_written_rows(engine, 7).image_quality
    assert list(quality.image_number) == list(range(1, 3601))
    assert list(quality.spots_total) == list(range(1, 3601))


def test_later_results_fill_up_and_win_but_none_erases(engine, row):
    store(engine, [result(1, n_spots_total=5, estimated_d_min=2.0)])
    store(engine, [result(1, n_spots_total=None, dozor_score=3.5), result(1, n_spots_total=6)])
    written = row(models.ImageQualityIndicators, (7, 1))
    assert (written["spotTotal"], written["method1Res"], written["dozor_score"]) == (6, 2.0, 3.5)


def test_numbers_that_are_none_become_null(engine, row):
    store(engine, [result(1, estimated_d_min=float("nan"), total_intensity=float("inf"))])
    written = row(models.ImageQualityIndicators, (7, 1))
    assert (written["method1Res"], written["totalIntegratedSignal"]) == (None, None)


@pytest.mark.parametrize("lack", [{"file-number": None}, {"n_spots_total": None}, {"dcid": None}])
def test_result_that_lacks_something_is_refused(lack):
    with pytest.raises(ValidationError):
        result(1, **lack)


def test_mysql_gets_its_own_upsert():
    statement = str(upsert("mysql").compile(dialect=mysql.dialect()))
    assert "ON DUPLICATE KEY UPDATE" in statement
    assert "`spotTotal` = coalesce(VALUES(`spotTotal`)" in statement
    assert "`imageNumber` = " not in statement


def test_program_is_registered(run, row, engine, add_collection):
    dcid = add_collection()
    with Session(engine) as session:
        job = models.ProcessingJob(dataCollectionId=dcid, recipe="autoprocessing-xia2-dials")
        session.add(job)
        session.commit()
        rpid = job.processingJobId
    program = run(
        "register_processing", program="xia2 dials", cmdline="x" * 300, environment={"a": 1, "b": "c"}, rpid=str(rpid)
    )
    written = row(models.AutoProcProgram, program)
    assert written["processingPrograms"] == "xia2 dials"
    assert written["processingCommandLine"] == "x" * 255
    assert written["processingEnvironment"] == "a=1, b=c"
    assert (written["processingJobId"], written["processingPipelineId"]) == (rpid, 6)
    assert written["processingStatus"] is None
    assert [p.program_id for p in read_written_rows(engine, dcid).programs] == [program]


@pytest.mark.parametrize(
    ("program", "source", "pipeline"),
    [
        ("fast_dp", None, 3),
        ("big_ep", "xds", 12),
        ("big_ep", "dials", 13),
        ("dimple", "xia2 dials", 10),
        ("my program", None, None),
    ],
)
def test_program_belongs_to_its_pipeline(run, row, program, source, pipeline):
    key = run("register_processing", program=program, upstream_source=source)
    assert row(models.AutoProcProgram, key)["processingPipelineId"] == pipeline


def test_program_that_follows_a_scaling_has_its_program_as_parent(engine, run, row):
    parent = run("register_processing", program="xia2 dials")
    with Session(engine) as session:
        autoproc = models.AutoProc(autoProcProgramId=parent)
        scaling = models.AutoProcScaling(AutoProc=autoproc)
        session.add(scaling)
        session.commit()
        scaling_id = scaling.autoProcScalingId
    for given in ({"scaling_id": scaling_id}, {"environment": {"scaling_id": [scaling_id, 99]}}):
        child = run("register_processing", program="dimple", **given)
        assert row(models.AutoProcProgram, child)["parentAutoProcProgramId"] == parent


class TestProcessingStatus:
    """Times are seconds of one minute; NOW is when it was written, for want of a time."""

    @pytest.fixture
    def program(self, run):
        return run("register_processing", program="fast_dp")

    @pytest.fixture
    def after(self, run, row, program):
        def after(*updates):
            for update in updates:
                times = {k: f"2024-05-01 12:00:{v:02d}" for k, v in update.items() if k.endswith("_time")}
                assert run("update_processing_status", program_id=program, **(update | times)) == program
            found = row(models.AutoProcProgram, program)
            start, end = (
                time.second if time.year == 2024 else NOW
                for time in (found["processingStartTime"], found["processingEndTime"])
            )
            return found["processingStatus"], found["processingMessage"], start, end

        return after

    @pytest.mark.parametrize(
        ("updates", "expected"),
        [
            ([{"message": "started", "start_time": 1}], (None, "started", 1, NOW)),
            ([{"start_time": 1}, {"start_time": 5, "message": "again"}], (None, "again", 1, NOW)),
            ([{"message": "a", "start_time": 1, "update_time": 5}, {"update_time": 6}], (None, "a", 1, 6)),
            ([{"message": "new", "update_time": 9}, {"message": "old", "update_time": 5}], (None, "new", NOW, 9)),
            ([{"message": "a", "update_time": 9}, {"message": "b"}], (None, "b", NOW, NOW)),
            ([{"status": "success", "message": "done", "update_time": 9}], (1, "done", NOW, 9)),
            ([{"status": "failure", "message": "no"}], (0, "no", NOW, NOW)),
            ([{"update_time": 9}, {"status": "SUCCESS", "update_time": 5}], (1, None, NOW, 5)),
            ([{"status": "success", "message": "done"}, {"status": "failure", "message": "no"}], (1, "done", NOW, NOW)),
            (
                [{"status": "failure", "update_time": 3}, {"message": "running", "update_time": 9, "start_time": 1}],
                (0, None, NOW, 3),
            ),
            ([{"status": "running", "message": "m"}], (None, "m", NOW, NOW)),
            ([{"message": "x" * 100}], (None, "x" * 80, NOW, NOW)),
        ],
    )
    def test_status_latches_and_old_news_are_ignored(self, after, updates, expected):
        assert after(*updates) == expected

    @pytest.mark.parametrize(
        ("first", "then", "said"),
        [
            (
                {"status": "success", "message": "done", "update_time": 9},
                {"status": "failure", "message": "I/σ(I) too low"},
                r"failure \('I/σ\(I\) too low'\) is ignored, since it has ended already, at .* with success \('done'\)",
            ),
            ({"status": "failure"}, {}, r"that it runs is ignored, since it has ended already, at .*, with failure$"),
            (
                {"update_time": 9},
                {"message": "old", "update_time": 5},
                r"that it runs \('old'\) is ignored, since ISPyB has later news of it, of 2024-05-01 12:00:09$",
            ),
            ({"update_time": 5}, {"status": "success", "update_time": 4}, None),
            ({"update_time": 5}, {"message": "new", "update_time": 5}, None),
        ],
    )
    def test_what_is_ignored_is_said(self, after, program, caplog, first, then, said):
        after(first)
        assert caplog.messages == []
        after(then)
        if said is None:
            assert caplog.messages == []
        else:
            assert re.search(rf"^program {program}: {said}", caplog.messages[-1])

    def test_name_that_is_ignored_is_said(self, run, after, program, caplog):
        after({"status": "success"})
        run("update_program_name", program_id=program, program="other")
        assert f"program {program}: the name 'other' is ignored, since it has ended already" in caplog.text

    def test_renaming_a_program_neither_starts_it_nor_changes_it_once_it_has_ended(self, run, row, program):
        assert run("update_program_name", program_id=program, program="xia2 dials") == program
        assert row(models.AutoProcProgram, program)["processingStartTime"] is None
        run("update_processing_status", program_id=program, status="success")
        run("update_program_name", program_id=program, program="other")
        assert row(models.AutoProcProgram, program)["processingPrograms"] == "xia2 dials"

    def test_unknown_program_is_refused(self, run):
        with pytest.raises(MessageRefused, match="4711"):
            run("update_processing_status", program_id=4711, status="success")


def test_file_is_attached_to_a_program_once(run, row, tmp_path):
    program = run("register_processing", program="fast_dp")
    (tmp_path / "fast_dp.log").touch()
    file = {"file_name": "fast_dp.log", "file_path": str(tmp_path), "file_type": "LOG", "importance_rank": "1"}
    keys = {run("add_program_attachment", program_id=program, **file) for _ in range(2)}
    (key,) = keys
    written = row(models.AutoProcProgramAttachment, key)
    assert (written["fileName"], written["filePath"]) == ("fast_dp.log", str(tmp_path))
    assert (written["fileType"], written["importanceRank"]) == ("Log", 1)


def test_file_is_attached_to_a_collection_once(engine, run, add_collection, tmp_path):
    dcid = add_collection()
    (tmp_path / "spots.png").touch()
    file = {"file_name": "spots.png", "file_path": str(tmp_path), "file_type": "snapshot"}
    assert len({run("add_datacollection_attachment", dcid=dcid, **file) for _ in range(2)}) == 1
    (attachment,) = read_written_rows(engine, dcid).attachments
    assert (str(attachment.path), attachment.type) == (f"{tmp_path}/spots.png", "snapshot")


NEARLY_THE_SAME = ("run_e.log", "run_E.log", "run_é.log", "run_e.log ")


def test_files_whose_names_are_nearly_the_same_are_attached_each(run, row, add_collection, tmp_path):
    program, dcid = run("register_processing", program="fast_dp"), add_collection()
    for name in NEARLY_THE_SAME:
        (tmp_path / name).touch()
    files = [{"file_name": name, "file_path": str(tmp_path)} for name in NEARLY_THE_SAME]
    for command, owner, model in (
        ("add_program_attachment", {"program_id": program}, models.AutoProcProgramAttachment),
        ("add_datacollection_attachment", {"dcid": dcid}, models.DataCollectionFileAttachment),
    ):
        first, again = ([run(command, **owner, **file) for file in files] for _ in range(2))
        assert first == again
        written = [row(model, key) for key in first]
        names = [one.get("fileName") or one["fileFullPath"].rpartition("/")[2] for one in written]
        assert names == list(NEARLY_THE_SAME)


def test_directories_whose_names_are_nearly_the_same_are_told_apart(engine, add_collection):
    add_collection(imageDirectory="/dls/i03/lys/X1/")
    dcid = add_collection(imageDirectory="/dls/i03/lys/x1/")
    assert [found.dcid for found in find_by_path(engine, PurePosixPath("/dls/i03/lys/x1"))] == [dcid]


def test_unknown_type_is_a_log_and_the_warning_says_so(run, row, add_collection, tmp_path, caplog):
    (tmp_path / "x.dat").touch()
    file = {"file_name": "x.dat", "file_path": str(tmp_path), "file_type": "movie"}
    key = run("add_datacollection_attachment", dcid=add_collection(), **file)
    assert row(models.DataCollectionFileAttachment, key)["fileType"] == "log"
    assert "movie" in caplog.text


@pytest.mark.parametrize("command", ["add_program_attachment", "add_datacollection_attachment"])
def test_file_that_is_not_there_is_not_attached(run, tmp_path, command):
    with pytest.raises(MessageRefused, match=r"missing\.log"):
        run(command, program_id=1, dcid=1, file_name="missing.log", file_path=str(tmp_path))


def test_attachment_of_an_unknown_collection_is_refused(run, tmp_path):
    (tmp_path / "x.log").touch()
    with pytest.raises(MessageRefused, match=r"no DataCollection 4711, which .*\.dataCollectionId names"):
        run("add_datacollection_attachment", dcid=4711, file_name="x.log", file_path=str(tmp_path))


def test_program_message_is_written_once_and_cut(run, row):
    program = run("register_processing", program="fast_dp")
    message = {"program_id": program, "severity": "warning", "message": "m" * 300, "description": "d" * 300}
    (key,) = {run("add_program_message", **message) for _ in range(2)}
    written = row(models.AutoProcProgramMessage, key)
    assert (written["severity"], written["message"], written["description"]) == ("WARNING", "m" * 200, "d" * 300)


CENTRE_2D = {
    "centre_of_mass": [2.5, 1.5],
    "max_voxel": [2, 1],
    "max_count": 250,
    "n_voxels": 4,
    "total_count": 700,
    "status": "ok",
    "sample_id": None,
    "best_image": 8,
}


def add_grid(engine, dcid):
    with Session(engine) as session:
        grid = models.GridInfo(dataCollectionId=dcid, steps_x=5, steps_y=4)
        session.add(grid)
        session.commit()
        return grid.gridInfoId


def test_centring_of_a_grid_is_written_and_replaced(engine, run, row, add_collection, add_group):
    group = add_group(experimentType="Mesh")
    dcid, other = (add_collection(dataCollectionGroupId=group) for _ in range(2))
    grid, _ = add_grid(engine, dcid), add_grid(engine, other)
    first = run("insert_xray_centring", dcid=dcid, type="2d", status="success", results=[CENTRE_2D])
    elsewhere = run("insert_xray_centring", dcid=other, type="2d", status="success", results=[CENTRE_2D])
    again = run("insert_xray_centring", dcid=dcid, type="2d", status="success", results=[CENTRE_2D | {"n_voxels": 5}])
    assert (again, elsewhere == first) == (first, False)
    (found,) = read_written_rows(engine, dcid).centrings
    assert (found.centre_x, found.centre_y, found.centre_z) == (2.5, 1.5, None)
    assert (found.type, found.status, found.total_count, found.voxels) == ("2d", "success", 700, 5)
    with Session(engine) as session:
        (written,) = session.scalars(
            select(models.XrayCentringResult).where(models.XrayCentringResult.xrayCentringId == first)
        )
        assert (written.gridInfoId, written.maxVoxelX, written.maxVoxelY) == (grid, 2, 1)


@pytest.fixture
def centre(engine, run, add_collection, add_group):
    """Centre one of three grids of a group, as they are counted from 0; return the centring's number."""
    group = add_group(experimentType="Mesh")
    dcids = [add_collection(dataCollectionGroupId=group) for _ in range(3)]
    for dcid in dcids:
        add_grid(engine, dcid)
    return lambda number, *crystals, status="success": run(
        "insert_xray_centring", dcid=dcids[number], type="2d", status=status, results=crystals
    )


def number_of_centrings(engine):
    with engine.connect() as connection:
        return len(connection.execute(select(models.XrayCentring.xrayCentringId)).all())


def test_grids_of_a_group_without_crystals_have_a_centring_each(engine, centre):
    first = {centre(number) for number in range(3)}
    again = {centre(number) for _ in range(3) for number in range(3)}
    assert (len(first), again <= first) == (3, True)
    assert number_of_centrings(engine) == 3


@pytest.mark.parametrize("crystals", [(), (CENTRE_2D,)])
def test_empty_centrings_are_no_more_than_grids_in_whichever_order_they_come(engine, centre, crystals):
    for _ in range(4):
        centre(0)
    for _ in range(3):
        for number in (1, 2):
            centre(number, *crystals)
        centre(0)
    assert number_of_centrings(engine) == (5 if crystals else 3)  # the first grid can't be told from those to come


def test_only_grid_without_a_crystal_has_one_centring_beside_those_of_others(engine, centre):
    keys = [centre(1, CENTRE_2D), centre(2, CENTRE_2D), centre(0)]
    assert [centre(1, CENTRE_2D), centre(2, CENTRE_2D), centre(0)] == keys
    assert len(set(keys)) == number_of_centrings(engine) == 3


def test_empty_centring_replaces_the_crystals_of_its_grid(engine, centre):
    centre(1)
    first = centre(0, CENTRE_2D)
    assert {centre(0), centre(0)} <= {first, first + 1}
    with engine.connect() as connection:
        assert connection.execute(select(models.XrayCentringResult.xrayCentringId)).all() == []


def test_centring_that_found_nothing_is_a_failure(engine, run, add_collection):
    dcid = add_collection()
    add_grid(engine, dcid)
    nothing = {
        "status": "fail",
        "message": "No good images found",
        "centre_of_mass": None,
        "max_voxel": None,
        "sample_id": 0,
    }
    run("insert_xray_centring", dcid=dcid, type="2d", status="success", results=[nothing])
    (found,) = read_written_rows(engine, dcid).centrings
    assert (found.status, found.centre_x) == ("failure", None)


def test_centring_in_space_has_its_boxes(engine, run, row, add_collection, add_group, facility):
    group = add_group(experimentType="Mesh3D")
    dcid = add_collection(dataCollectionGroupId=group)
    crystal = {
        "centre_of_mass": [1.5, 2.5, 3.5],
        "max_voxel": [1, 2, 3],
        "n_voxels": 8,
        "total_count": 9.5,
        "bounding_box": [[1, 2, 3], [2, 4, 6]],
        "sample_id": facility.sample,
    }
    keys = {
        run("insert_xray_centring", **{"dcid-group": group}, type="3d", status="success", results=[crystal, crystal])
        for _ in range(2)
    }
    assert len(keys) == 1
    assert [found.centre_z for found in read_written_rows(engine, dcid).centrings] == [3.5, 3.5]
    with Session(engine) as session:
        written = session.scalars(select(models.XrayCentringResult)).first()
        assert (written.boundingBoxMinZ, written.boundingBoxMaxZ, written.blSampleId) == (3, 6, facility.sample)


def test_empty_centring_in_space_is_written_once(run, add_group):
    group = add_group(experimentType="Mesh3D")
    assert len({run("insert_xray_centring", dcgid=group, type="3d", results=[]) for _ in range(2)}) == 1


def test_centring_without_a_group_is_refused(run):
    with pytest.raises(MessageRefused, match="dcid-group"):
        run("insert_xray_centring", dcid=4711, results=[CENTRE_2D])


def test_absent_values_may_come_as_text(run, row):
    key = run("register_processing", program="fast_dp", rpid="None", cmdline="")
    written = row(models.AutoProcProgram, key)
    assert (written["processingJobId"], written["processingCommandLine"]) == (None, None)


def test_collection_without_results_gives_an_empty_summary(engine, add_collection):
    found = read_written_rows(engine, add_collection())
    assert len(found.image_quality.image_number) == 0
    assert (found.centrings, found.attachments, found.programs) == ((), (), ())
