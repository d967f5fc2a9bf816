"""What is said of requests that can't be fulfilled: which step and command, of which rows, which column, and why."""

import pytest

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.composite_commands import MULTIPART
from tasks.ispyb_access.writing.fulfilment import answer_all
from tasks.ispyb_access.writing.requests import Request, RowAwaited


def fulfil_in_vain(items):
    """Carry out a list, with nothing to be found in ISPyB."""
    request = Request(MULTIPART, ({"ispyb_command_list": items},), {})
    request.check()
    answer_all(request.calls(), lambda call: None)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        pytest.param(
            {"ispyb_command": "upsert_integration", "dcid": 7, "program_id": "81", "cell_a": "wide"},
            "upsert_integration (dcid 7, program_id 81) can't use the message: cell_a (AutoProcIntegration.cell_a): "
            "Input should be a valid number, unable to parse string as a number, seen 'wide'",
            id="ids and column",
        ),
        pytest.param(
            {"ispyb_command": "upsert_integration", "dcid": -1, "cell_a": 1e39},
            "upsert_integration can't use the message: dcid (AutoProcIntegration.dataCollectionId): "
            "Input should be greater than or equal to 1, seen -1; "
            "cell_a (AutoProcIntegration.cell_a): expected a number up to 3.4e+38, seen 1e+39",
            id="a wrong id isn't said twice, nor a value",
        ),
        pytest.param(
            {"ispyb_command": "store_per_image_analysis_results", "DCID": 7, "file-number": 5, "isRotation": 1},
            "store_per_image_analysis_results (dcid 7, file-number 5) can't use the message: "
            "expected n_spots_total or dozor_score, seen neither",
            id="of the whole",
        ),
        pytest.param(
            {"ispyb_command": "add_program_message", "program_id": 5},
            "add_program_message (program_id 5) can't use the message: "
            "severity (AutoProcProgramMessage.severity): Field required",
            id="missing",
        ),
        pytest.param(
            {"ispyb_command": "upsert_data_collection_mx", "dcid": 7, "xtal_snapshot1": "/" + "x" * 299},
            "upsert_data_collection_mx (dcid 7) can't use the message: "
            "xtal_snapshot1 (DataCollection.xtalSnapshotFullPath1): expected at most 255 characters, "
            f"seen 300: '/{'x' * 58}…",
            id="a long text isn't said in full",
        ),
        pytest.param(
            {"ispyb_command": "add_programme_message"},
            "there is no ISPyB command 'add_programme_message': is it add_program_message or ",
            id="misspelt",
        ),
        pytest.param(
            {"ispyb_command": "make_coffee"},
            "there is no ISPyB command 'make_coffee': `plaza ispyb commands` lists them",
            id="unheard of",
        ),
        pytest.param(
            {"ispyb_command": "add_program_message", "program_id": 5, "severity": "INFO", "store_result": ["x" * 9999]},
            "expected a name as store_result, seen ['xxxx",
            id="a result under no name",
        ),
        pytest.param({}, "expected the name of a command as ispyb_command, seen None", id="no command"),
        pytest.param("stop", "expected the name of a command as ispyb_command, seen None", id="no object"),
    ],
)
def test_refusal_says_what_is_wrong_where(item, said):
    with pytest.raises(MessageRefused) as refusal:
        fulfil_in_vain([item])
    assert str(refusal.value).startswith(f"step 1 of 1: {said}")
    assert str(refusal.value).endswith("; nothing of the list is written")


def test_row_that_is_awaited_names_the_step():
    told = {"ispyb_command": "add_program_message", "program_id": 5, "severity": "INFO"}
    looks = {"ispyb_command": "buffer", "program_id": 5, "buffer_lookup": {"dcid": 77}, "buffer_command": told}
    with pytest.raises(RowAwaited, match=r"^step 2 of 2: buffer: no row of program 5 is known by the number 77 in zc_"):
        fulfil_in_vain([told, looks])


def test_a_wrong_choice_is_not_repeated_in_full():
    with pytest.raises(MessageRefused) as refusal:
        fulfil_in_vain([{"ispyb_command": "add_program_message", "program_id": 5, "severity": "x" * 10**6}])
    assert len(str(refusal.value)) < 1000
