"""What the write commands take and what they refuse, before any database is asked."""

import json
from datetime import datetime
from decimal import Decimal
from typing import get_args

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import DateTime, Enum, Float, Integer, String
from sqlalchemy.dialects.mysql import TINYINT

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands import COMMANDS
from tasks.ispyb_access.writing.commands.attachments import FileParameters
from tasks.ispyb_access.writing.commands.image_quality import PerImageResult, tell_of_no_numbers
from tasks.ispyb_access.writing.commands.phasing import Statistics
from tasks.ispyb_access.writing.commands.structures import ResultBlob, ResultFile, ResultProgram, ResultRun
from tasks.ispyb_access.writing.parameters import look_up
from tasks.ispyb_access.writing.rows.columns import LARGEST_INTEGER, WHOLE, fit
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, squash
from tasks.ispyb_access.writing.rows.leniency import ORNAMENTS, is_figure, is_ornament, is_ornament_parameter
from tasks.ispyb_access.writing.rows.row_parameters import RowParameters, table
from tasks.ispyb_access.writing.rows.writing_rows import fit_row

FILE = {"file_name": "a.log", "file_path": "/dls/tmp"}
PHASING = {"PhasingContainer": {"PhasingAnalysis": {"recordTimeStamp": "2020-10-28 17:09:01"}}}
RESULT = {
    "mxmrrun": {"auto_proc_scaling_id": 1},
    "auto_proc_program": {
        "command_line": "dimple",
        "programs": "dimple",
        "status": 1,
        "start_time": "2024-05-01 12:00:00",
        "end_time": "2024-05-01 12:01:00",
    },
}

# The least that each command needs.
LEAST = {
    "add_datacollection_attachment": {"dcid": 1, **FILE},
    "add_program_attachment": {"program_id": 1, **FILE},
    "add_program_message": {"program_id": 1, "severity": "INFO"},
    "create_ispyb_job": {"DCID": 1},
    "insert_data_collection": {"dcgid": 1},
    "insert_data_collection_group": {"session_id": 1},
    "insert_dimple_result": RESULT,
    "insert_metal_id_result": RESULT,
    "insert_mxmr_run": {"scaling_id": 1},
    "insert_mxmr_run_blob": {"mxmr_run_id": 1},
    "insert_pdb_files": {"protein_id": 1, "pdb_files": ["/a.pdb"]},
    "insert_phasing_analysis_results": {"scaling_id": 1, "phasing_results": PHASING},
    "insert_scaling": {"autoproc_id": 1, "overall": {}, "innerShell": {}, "outerShell": {}},
    "insert_screening": {"dcid": 1},
    "insert_screening_input": {"screening_id": 1},
    "insert_screening_output": {"screening_id": 1},
    "insert_screening_output_lattice": {"screening_output_id": 1},
    "insert_screening_strategy": {"screening_output_id": 1},
    "insert_screening_strategy_sub_wedge": {"screening_strategy_wedge_id": 1},
    "insert_screening_strategy_wedge": {"screening_strategy_id": 1},
    "insert_xray_centring": {},
    "register_integration": {"dcid": 1},
    "register_processing": {"program": "fast_dp"},
    "retrieve_program_attachments_for_program_id": {"program_id": 1},
    "retrieve_programs_for_job_id": {"rpid": 1},
    "retrieve_proposal_title": {"visit": "mx12345-1"},
    "store_dimple_failure": {"scaling_id": 1},
    "store_per_image_analysis_results": {"dcid": 1, "file-number": 1, "n_spots_total": 1},
    "update_ispyb_job": {"job_id": 1},
    "update_processing_status": {"program_id": 1},
    "update_program_name": {"program_id": 1, "program": "fast_dp"},
    "upsert_data_collection_mx": {"dcid": 1},
    "upsert_integration": {"dcid": 1},
    "write_autoproc": {},
}

NESTED = {"insert_dimple_result": (ResultRun, ResultProgram, ResultBlob, ResultFile), "phasing": (Statistics,)}
ROW_MODELS = sorted(
    {
        *(command.parameters for command in COMMANDS.values() if issubclass(command.parameters, RowParameters)),
        *(model for models in NESTED.values() for model in models),
    },
    key=lambda model: model.__name__,
)
COLUMNS = [
    (model, field, column)
    for model in ROW_MODELS
    for field, column in model.columns().items()
    if not (issubclass(model, FileParameters) and field == "file_type")  # takes what it doesn't know for a log
]
SHORTER = {"UpdateProcessingStatus.message": 80}
COLUMN_IDS = [f"{model.__name__}.{field}" for model, field, _ in COLUMNS]


def read(command, **changes):
    return COMMANDS[command].parameters.model_validate({**LEAST[command], **changes})


def faults(model, values):
    """Return what a model says of each parameter."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return {".".join(map(str, fault["loc"])): fault["msg"] for fault in error.errors()}
    return {}


def test_every_command_has_an_example_here():
    assert sorted(LEAST) == sorted(COMMANDS)


@pytest.mark.parametrize("command", LEAST)
def test_the_least_is_enough(command):
    assert isinstance(read(command), CommandParameters)


@pytest.mark.parametrize(
    ("command", "missing"),
    [(command, name) for command, values in LEAST.items() for name in values],
)
def test_less_than_the_least_is_refused(command, missing):
    values = {name: value for name, value in LEAST[command].items() if name != missing}
    found = faults(COMMANDS[command].parameters, values)
    assert missing in found or missing in found[""]


@pytest.mark.parametrize("nothing", [None, "", "None"])
@pytest.mark.parametrize("command", ["insert_screening_input", "update_processing_status", "insert_scaling"])
def test_nothing_is_as_good_as_missing(command, nothing):
    name = next(iter(LEAST[command]))
    assert faults(COMMANDS[command].parameters, {**LEAST[command], name: nothing}) == {name: "Field required"}


class TestSpelling:
    @pytest.mark.parametrize(
        "name",
        [
            "raw_orientation_matrix_a_x",
            "raworientationmatrixax",
            "rawOrientationMatrix_a_x",
            "raw-orientation-matrix-a-x",
        ],
    )
    def test_any_will_do(self, name):
        assert read("insert_screening_output_lattice", **{name: 0.5}).raw_orientation_matrix_a_x == 0.5

    @pytest.mark.parametrize(
        ("command", "given", "field", "value"),
        [
            ("insert_mxmr_run", {"inputmtzfile": "a.mtz"}, "input_mtz_file", "a.mtz"),
            ("insert_mxmr_run", {"rfreestart": "0.25"}, "rfree_start", 0.25),
            ("insert_screening", {"autoprocprogramid": "3"}, "auto_proc_program_id", 3),
            ("insert_screening", {"dcid-group": 3}, "dcgid", 3),
            ("insert_screening", {"dcidGroup": 3}, "dcgid", 3),
            ("insert_screening_output", {"alignmentSuccess": "true"}, "alignment_success", True),
            ("insert_screening_output", {"totalnoimages": "10"}, "total_no_images", 10),
            ("insert_screening_input", {"minsignal2noise": 2}, "min_signal2noise", 2),
            ("insert_scaling", {"outershell": {"nTotObs": 7}}, "outer_shell.n_tot_obs", 7),
            ("insert_dimple_result", {"mxmrrun": {"autoProcScalingId": 2, "LLG": 9}}, "mxmrrun.llg", 9),
            ("store_per_image_analysis_results", {"file_pattern_index": 4}, "image_number", 4),
        ],
    )
    def test_of_procedures_and_of_programs(self, command, given, field, value):
        found = read(command, **given)
        for name in field.split("."):
            found = getattr(found, name)
        assert found == value

    def test_the_last_one_counts(self):
        """Recipes come before messages in what is looked up."""
        model = COMMANDS["insert_screening_strategy"].parameters
        assert model.model_validate({"screening_output_id": 1, "phistart": 1, "phiStart": 2}).phi_start == 2

    @pytest.mark.parametrize("name", ["file_name", "fileName", "filename", "file-name"])
    def test_file_names_keep_their_dollars(self, name):
        found = look_up({"a": "b"}, {name: "$a.log", "comment": "$a"})
        assert found == {name: "$a.log", "comment": "b"}

    @pytest.mark.parametrize("command", COMMANDS)
    def test_no_two_parameters_are_spelt_alike(self, command):
        names = [squash(name) for name in COMMANDS[command].parameters.model_fields]
        assert len(set(names)) == len(names)


def _may_be_left_out(model, field, column):
    kinds = get_args(model.model_fields[field].annotation)
    return is_figure(column) and type(None) in kinds and bool not in kinds


@pytest.mark.parametrize(("model", "field", "column"), COLUMNS, ids=COLUMN_IDS)
class TestColumns:
    """Each parameter of each command that is a column of its own."""

    def test_what_it_cannot_hold_is_refused(self, model, field, column):
        kind = column.type
        if isinstance(kind, Enum):
            bad = {"wrong": f"expected one of {kind.enums[0]}|'ERROR', 'WARNING' or 'INFO'"}
        elif isinstance(kind, String):
            bad = {("a", "list"): "valid string", b"\xff": "valid string|valid UTF-8"}
            if WHOLE.search(column.name):
                bad["x" * 300] = "at most 255 characters"
        elif isinstance(kind, DateTime):
            bad = {"yesterday": "valid datetime", True: "expected a time", "0001-01-01": "since 1970"}
        elif isinstance(kind, TINYINT):
            bad = {"x": "valid", 1e9: "valid boolean|up to 127"}
        elif isinstance(kind, Integer):
            bad = {"x": "valid integer", 1.5: "valid integer", True: "expected a number", 2**40: "up to|less than"}
            if not _may_be_left_out(model, field, column):
                bad[float("nan")] = "finite"
        else:
            assert isinstance(kind, Float)
            bad = {"x": "valid number", "--": "valid number", True: "expected a number"}
            if type(kind).__name__ == "Float":
                bad[1e39] = "up to 3.4e"
        for value, expected in bad.items():
            given = list(value) if isinstance(value, tuple) else value
            found = faults(model, {field: given})
            (fault,) = {message for place, message in found.items() if squash(place.partition(".")[0]) == squash(field)}
            assert any(text in fault for text in expected.split("|")), (value, fault)

    def test_what_it_can_hold_is_taken_as_text_too(self, model, field, column):
        kind = column.type
        if isinstance(kind, Enum):
            text, expected = kind.enums[-1].swapcase(), kind.enums[-1]
        elif isinstance(kind, String):
            text, expected = "Å", "Å"
        elif isinstance(kind, DateTime):
            text, expected = "2024-05-01 12:30:15", datetime(2024, 5, 1, 12, 30, 15)
        else:
            text, expected = "1", 1
        assert getattr(model.model_validate({**_least_of(model), field: text}), field) == expected


@pytest.mark.parametrize(
    ("model", "field", "column"),
    [pytest.param(*place, id=f"{place[0].__name__}.{place[1]}") for place in COLUMNS if _may_be_left_out(*place)],
)
def test_figure_that_is_no_number_is_left_out_with_a_warning(model, field, column, caplog):
    for value in (float("nan"), float("-inf"), "NaN", Decimal("nan"), numpy.float32("nan")):
        assert getattr(model.model_validate({**_least_of(model), field: value}), field) is None
        assert f"{column}: {value} is no number that can be written; it is left out" in caplog.text


@pytest.mark.parametrize(
    ("model", "field", "column"),
    [
        pytest.param(model, field, column, id=f"{model.__name__}.{field}")
        for model, field, column in COLUMNS
        if getattr(column.type, "length", None) and not isinstance(column.type, Enum) and not WHOLE.search(column.name)
    ],
)
def test_text_is_cut_to_its_column_with_a_warning(model, field, column, caplog):
    length = SHORTER.get(f"{model.__name__}.{field}", column.type.length)
    taken = model.model_validate({**_least_of(model), field: "é" * (length + 1)})
    assert getattr(taken, field) == "é" * length
    assert f"is cut to {length} of its {length + 1} characters" in caplog.text


def _least_of(model):
    """Return values for what a model requires."""
    for command, values in LEAST.items():
        if COMMANDS[command].parameters is model:
            return values
    return {ResultRun: RESULT["mxmrrun"], ResultProgram: RESULT["auto_proc_program"]}.get(
        model, {"xyz": [1, 2, 3], "file_type": "log", **FILE}
    )


@pytest.mark.parametrize(
    ("command", "changes", "place", "expected"),
    [
        ("add_program_attachment", {"program_id": "$ispyb_autoprocprogram_id"}, "program_id", "valid integer"),
        ("add_program_attachment", {"program_id": 0}, "program_id", "greater than or equal to 1"),
        ("add_program_attachment", {"file_name": ["a"]}, "file_name", "valid string"),
        ("add_program_attachment", {"importance_rank": "high"}, "importance_rank", "valid integer"),
        ("add_datacollection_attachment", {"dcid": 2**31}, "dcid", f"less than or equal to {LARGEST_INTEGER}"),
        ("add_program_message", {"severity": "LOUD"}, "severity", "'ERROR', 'WARNING' or 'INFO'"),
        ("insert_pdb_files", {"pdb_files": []}, "pdb_files", "at least 1 item"),
        ("insert_pdb_files", {"pdb_files": "/a.pdb"}, "pdb_files", "valid tuple"),
        ("insert_scaling", {"overall": "good"}, "overall", "valid dictionary"),
        ("insert_scaling", {"innerShell": {"r_merge": "low"}}, "innerShell.r_merge", "valid number"),
        ("insert_scaling", {"outerShell": {"n_tot_obs": -1}}, "outerShell.n_tot_obs", "greater than or equal to 0"),
        ("insert_scaling", {"overall": {"anom": "perhaps"}}, "overall.anom", "valid boolean"),
        ("insert_dimple_result", {"blobs": [{"xyz": [1, 2]}]}, "blobs.0.xyz.2", "Field required"),
        ("insert_dimple_result", {"blobs": [{"xyz": [1, 2, 3], "map_type": "2Fo"}]}, "blobs.0.map_type", "anom"),
        ("insert_dimple_result", {"attachments": [FILE]}, "attachments.0.file_type", "Field required"),
        ("insert_metal_id_result", {"mxmrrun": {}}, "mxmrrun.auto_proc_scaling_id", "Field required"),
        (
            "insert_phasing_analysis_results",
            {"phasing_results": {"PhasingContainer": {}}},
            "phasing_results.PhasingContainer.PhasingAnalysis",
            "Field required",
        ),
        (
            "insert_phasing_analysis_results",
            {"phasing_results": "{}"},
            "phasing_results",
            "valid dictionary",
        ),
        ("insert_screening", {"dcid": None}, "", "expected dcid or dcgid"),
        ("upsert_integration", {"dcid": None}, "", "expected dcid, or integration_id"),
        ("upsert_data_collection_mx", {"dcid": None}, "", "expected dcid, or dcgid"),
        ("register_processing", {"rpid": "4a"}, "rpid", "valid integer"),
        ("register_processing", {"program": None}, "program", "Field required"),
        ("register_processing", {"scaling_id": ["x"]}, "scaling_id.0", "valid integer"),
        ("update_processing_status", {"start_time": "noon"}, "start_time", "valid datetime"),
        ("update_processing_status", {"update_time": 1e300}, "update_time", "valid datetime"),
        ("store_per_image_analysis_results", {"dcid": -1}, "dcid", "greater than or equal to 1"),
        ("insert_xray_centring", {"type": "4d"}, "type", "'2d' or '3d'"),
        ("insert_xray_centring", {"results": [{"max_voxel": [1, 2, 3, 4]}]}, "results.0.max_voxel", "at most 3"),
    ],
)  # fmt: skip
def test_bad_value_is_refused(command, changes, place, expected):
    found = faults(COMMANDS[command].parameters, {**LEAST[command], **changes})
    assert place in found, found
    assert expected in found[place]


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T12:30:15",
        "2024-05-01 12:30:15.987",
        "2024/05/01 12:30:15",
        "2024:05:01 12:30:15",
        "20240501123015",
        "20240501 123015",
        "Wed May  1 12:30:15 2024",
        "01-May-2024 12:30:15",
        datetime(2024, 5, 1, 12, 30, 15).astimezone().isoformat(),
        datetime(2024, 5, 1, 12, 30, 15).timestamp(),
    ],
)
def test_times_come_in_many_forms(text):
    assert read("update_processing_status", start_time=text).start_time == datetime(2024, 5, 1, 12, 30, 15)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("create_ispyb_job", "DCID"),
        ("retrieve_program_attachments_for_program_id", "program_id"),
        ("retrieve_programs_for_job_id", "rpid"),
        ("update_ispyb_job", "job_id"),
    ],
)
def test_id_that_no_database_can_take_is_refused(command, name):
    assert name in faults(COMMANDS[command].parameters, {**LEAST[command], name: 10**400})
    assert read(command, **{name: 2**63 - 1})


@pytest.mark.parametrize(
    "text",
    [
        "0000-00-00",
        "0000-00-00 00:00:00",
        "0000-00-00T00:00:00.000Z",
        "0000-00-00 00:00:00+01:00",
        "0000/00/00 00:00:00",
        "00000000000000",
        "00000000",
        "2026-00-00",
        "2026-05-00 12:00:00",
        "2026/00/00 12:00:00",
        "20260000120000",
        "0000-05-01 12:00:00",
    ],
)
def test_zero_dates_are_none_with_a_warning(text, caplog):
    given = read("update_processing_status", start_time=text, update_time="2024-05-01 12:30:15")
    assert (given.start_time, given.update_time) == (None, datetime(2024, 5, 1, 12, 30, 15))
    assert [f"start_time: {text} is no date" in line for line in caplog.messages] == [True]


@pytest.mark.parametrize("text", ["2026-00-45", "2026-13-00", "2026-00-00 25:00:00", "2026-00-00 soon"])
def test_other_dates_that_are_none_are_refused(text):
    assert "start_time" in faults(
        COMMANDS["update_processing_status"].parameters, {"program_id": 1, "start_time": text}
    )


def test_zero_date_of_a_time_that_has_to_be_given_is_none_too():
    program = RESULT["auto_proc_program"] | {"start_time": "0000-00-00 00:00:00"}
    given = read("insert_dimple_result", auto_proc_program=program).auto_proc_program
    assert (given.start_time, given.end_time) == (None, datetime(2024, 5, 1, 12, 1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("xia2 dials", None),
        ({"a": 1, "scaling_id": ["7", "8"]}, 7),
        ({"scaling_id": "x"}, None),
        ({"scaling_id": []}, None),
    ],
)
def test_environment_may_tell_the_scaling(given, expected):
    assert read("register_processing", environment=given).first_scaling_id == expected


@pytest.mark.parametrize(("scaling_id", "expected"), [(7, 7), ("7", 7), ([7, 8], 7), (["7"], 7), ([], None)])
def test_of_several_scalings_the_first_counts(scaling_id, expected):
    assert read("register_processing", scaling_id=scaling_id).first_scaling_id == expected


@pytest.mark.parametrize("message", ["x" * 80, "x" * 81, "σ" * 200])
def test_status_message_has_80_characters(message, caplog):
    assert read("update_processing_status", message=message).message == message[:80]
    assert ("is cut to 80" in caplog.text) == (len(message) > 80)


@pytest.mark.parametrize("command", ["add_program_attachment", "add_datacollection_attachment"])
@pytest.mark.parametrize(("given", "taken"), [("LOG", "log"), (None, "log"), ("movie", "log"), ("debug", "log")])
def test_attachment_of_an_unknown_type_is_a_log(command, given, taken, caplog):
    assert read(command, file_type=given).file_type.lower() == taken
    assert ("log is taken" in caplog.text) == (given in {"movie", "debug"})


@pytest.mark.parametrize(
    ("table_name", "column", "value", "expected"),
    [
        ("AutoProcProgramAttachment", "fileType", "LOG", "Log"),
        ("AutoProcProgramMessage", "description", "é" * 40_000, "é" * 32_767),
        ("AutoProcIntegration", "cell_a", float("nan"), None),
        ("AutoProcIntegration", "anomalous", True, 1),
        ("ImageQualityIndicators", "imageNumber", 7.0, 7),
        ("DataCollection", "flux", 1e100, 1e100),
        ("AutoProcProgram", "processingStartTime", datetime(2024, 5, 1, 0, 0, 0, 999), datetime(2024, 5, 1)),
    ],
)
def test_values_are_made_to_fit_their_columns(table_name, column, value, expected):
    assert fit(table(table_name).c[column], value) == expected


def test_row_that_does_not_fit_names_the_column():
    with pytest.raises(
        MessageRefused, match=r"^AutoProcProgramAttachment\.importanceRank: expected .* up to 127, seen 300"
    ):
        fit_row(table("AutoProcProgramAttachment"), {"importanceRank": 300})


NAMES = sorted({name for command in COMMANDS.values() for name in command.parameters.model_fields})
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 2**31 - 1, 2**31, 2**63, 1e39, -1e300])
TEXTS = st.text() | st.sampled_from(
    ["", "None", "$x", "nan", "1e5", "1" * 30, "9999-12-31T23:59:59Z", "0", "x" * 70_000]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=5),
    max_leaves=8,
)


@pytest.mark.parametrize("command", COMMANDS)
@given(data=st.data())
@settings(max_examples=25)
def test_whatever_comes_is_read_or_refused(command, data):
    """Nothing else than a refusal may come, and what is taken fits its columns."""
    model = COMMANDS[command].parameters
    names = st.sampled_from(sorted(model.model_fields)) | st.sampled_from(NAMES) | st.text()
    changes = data.draw(st.dictionaries(names, ANYTHING, max_size=6))
    values = changes if data.draw(st.booleans()) else {**LEAST[command], **changes}
    try:
        taken = model.model_validate(values)
    except ValidationError:
        return
    if isinstance(taken, RowParameters):
        row = fit_row(taken.table, taken.row())
        assert fit_row(taken.table, row) == row
    assert json.loads(taken.model_dump_json(warnings=False, serialize_as_any=True)) is not None


@pytest.mark.parametrize(
    ("text", "written"), [("a\0b", "ab"), ("\ud800", "?"), ("spot \udfff", "spot ?"), ("5 µm\0\0", "5 µm")]
)
class TestTextThatNoDatabaseStores:
    def test_is_refused_where_programs_go_by_it(self, text, written):
        column = table("AutoProcProgram").c.processingPrograms
        with pytest.raises(ValueError, match="expected text without NULs and lone surrogates"):
            fit(column, text)

    def test_is_written_without_what_can_not_be_where_people_read_it(self, text, written, caplog):
        assert fit(table("AutoProcProgram").c.processingMessage, text) == written
        assert "AutoProcProgram.processingMessage is written without its NULs" in caplog.text

    def test_has_no_part_in_an_automatic_jobs_name(self, text, written):
        given = {"DCID": 1, "source": "automatic", "comment": text, "displayname": text}
        job = COMMANDS["create_ispyb_job"].parameters.model_validate(given)
        assert (job.comment, job.displayname) == (written, written)
        assert job.entry.startswith("job/1/")


def test_number_of_a_row_is_never_left_out():
    for table_name, column in (
        ("AutoProcProgram", "autoProcProgramId"),
        ("AutoProcIntegration", "dataCollectionId"),
        ("DataCollection", "BLSAMPLEID"),
        ("ImageQualityIndicators", "imageNumber"),
        ("BLSession", "proposalId"),
    ):
        with pytest.raises(MessageRefused, match=rf"^{table_name}\.{column}: expected a finite number, seen nan"):
            fit_row(table(table_name), {column: float("nan")})


def test_figures_within_lists_are_left_out_too(caplog):
    nan = float("nan")
    found = {"centre_of_mass": [nan, 2], "max_voxel": [nan, 3], "n_voxels": nan, "total_count": nan}
    (crystal,) = COMMANDS["insert_xray_centring"].parameters.model_validate({"results": [found]}).results
    row = fit_row(table("XrayCentringResult"), crystal.row())
    assert [row[f"centreOfMass{axis}"] for axis in "XYZ"] == [None, 2, None]
    assert [row[f"maxVoxel{axis}"] for axis in "XYZ"] == [None, 3, None]
    assert (row["numberOfVoxels"], row["totalCount"]) == (None, None)
    assert "XrayCentringResult.centreOfMassX: nan is no number" in caplog.text
    blob = ResultBlob.model_validate({"xyz": [1, nan, 3], "height": nan})
    assert fit_row(table("MXMRRunBlob"), blob.row()).items() >= {"x": 1, "y": None, "z": 3, "height": None}.items()


def test_small_figures_that_are_no_numbers_cost_no_row():
    nan = float("nan")
    assert read("insert_screening_output", diffraction_rings=nan, alignment_success=1).diffraction_rings is None
    assert read("add_program_attachment", importance_rank=nan).importance_rank is None
    assert read("insert_screening_strategy_wedge", wedge_number=nan, resolution=2.1).wedge_number is None
    assert read("insert_screening_strategy_wedge").wedge_number == 1
    atom = {"name": "CA", "chain_id": "A", "res_seq": nan, "res_name": "GLY"}
    (blob,) = read("insert_dimple_result", blobs=[{"xyz": [1, 2, 3], "height": 5, "nearest_atom": atom}]).blobs
    assert (blob.row()["nearestAtomResSeq"], blob.row()["nearestAtomName"]) == (None, "CA")
    assert "anom" in faults(COMMANDS["upsert_integration"].parameters, {"dcid": 1, "anom": nan})  # yes or no


def test_images_figures_that_are_no_numbers_are_told_of_once(caplog):
    images = [
        PerImageResult.model_validate(
            {"dcid": 5, "file-pattern-index": number, "n_spots_total": 9, "estimated_d_min": "nan"}
        )
        for number in (3, 4)
    ]
    tell_of_no_numbers(images)
    assert caplog.messages == [
        "ImageQualityIndicators: 2 of 2 images have figures that are no numbers, and are left out; "
        "the first is image 3 of dcid 5"
    ]
    spots = {"dcid": 5, "file-pattern-index": 3, "n_spots_total": float("nan"), "dozor_score": 1.5}
    assert PerImageResult.model_validate(spots).n_spots_total is None


def test_texts_that_give_way_are_those_that_people_read():
    """Each text column that a command writes is for people, or strict."""
    texts = {
        column.name for _, _, column in COLUMNS if isinstance(column.type, String) and not isinstance(column.type, Enum)
    }
    assert sorted(texts - ORNAMENTS) == [
        *("bravaisLattice", "fileName", "filePath", "imageDirectory", "imageSuffix", "nearestAtomChainId"),
        *("nearestAtomName", "nearestAtomResName", "pointGroup", "processingPrograms", "program"),
        *("programVersion", "rotationAxis", "spaceGroup", "view1", "view2", "view3", "xtalSnapshotFullPath1"),
        *("xtalSnapshotFullPath2", "xtalSnapshotFullPath3", "xtalSnapshotFullPath4"),
    ]
    job = table("ProcessingJob").c
    assert [is_ornament(job[name]) for name in ("displayName", "comments", "recipe")] == [True, True, False]


@pytest.mark.parametrize(
    ("parameter", "gives_way"),
    [
        *(("p_message", True), ("p_updateMessage", True), ("p_displayName", True), ("p_comments3", True)),
        *(("p_statusDescription", True), ("p_commandLine", True), ("p_environment", True), ("p_short_comments", True)),
        *(("p_programs", False), ("p_file_name", False), ("p_recipe", False), ("p_parameterValue", False), ("", False)),
    ],
)
def test_parameters_of_procedures_give_way_as_columns_do(parameter, gives_way):
    assert is_ornament_parameter(parameter) == gives_way
