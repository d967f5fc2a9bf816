"""What Mimas has read is there for the runs that it launches, and for no others."""

from uuid import UUID

import pytest

from blocks.settings import get_settings
from flows.recipe.mimas_reading import OtherDataCollection, find_reading, keep_reading
from tasks.ispyb_access.reading.example import example_collection

RUN, OTHER_RUN = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def collection():
    return example_collection()


def test_what_was_read_comes_back_as_it_was(collection):
    assert keep_reading(collection, RUN) == RUN
    found = find_reading(RUN, collection.dcid)
    assert found == collection
    assert found.recipe_parameters() == collection.recipe_parameters()


def test_numbers_and_names_of_files_that_json_has_trouble_with_come_back(collection):
    odd = collection.model_copy(
        update={"dc_info": {"a": 2**70}, "reference_geometry": "/dls/\udce9", "msp_sample_ids": {1: 2}}
    )
    keep_reading(odd, RUN)
    assert find_reading(RUN, odd.dcid) == odd


def test_a_run_that_is_retried_hands_over_what_it_read_last(collection):
    keep_reading(collection, RUN)
    keep_reading(collection.model_copy(update={"beamline": "i24"}), RUN)
    assert find_reading(RUN, collection.dcid).beamline == "i24"


def test_a_second_event_leaves_the_first_ones_reading_alone(collection):
    keep_reading(collection, RUN)
    keep_reading(collection.model_copy(update={"beamline": "i24"}), OTHER_RUN)
    assert find_reading(RUN, collection.dcid) == collection


def test_a_reading_that_is_gone_is_told_of(collection, caplog):
    assert find_reading(RUN, collection.dcid) is None
    assert f"what Mimas's run {RUN} has read isn't here, ISPyB is read again" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b'{"dcid": 1', b"[]", b'{"dcid": 1, "colour": "blue"}', b"\xff", b"[" * 100_000]
)
def test_a_reading_of_another_form_is_told_of(collection, home, content, caplog):
    keep_reading(collection, RUN)
    [file] = home.rglob("collection.json")
    file.write_bytes(content)
    assert find_reading(RUN, collection.dcid) is None
    assert "ISPyB is read again" in caplog.text


def test_a_reading_of_another_collection_is_refused(collection):
    keep_reading(collection, RUN)
    with pytest.raises(OtherDataCollection, match=f"for data collection 4711, but Mimas's run {RUN} has read 1 "):
        find_reading(RUN, 4711)


def test_a_folder_that_can_not_be_written_costs_the_second_reading_only(collection, home, caplog):
    (home / "mimas-runs").write_text("no folder")
    assert keep_reading(collection, RUN) is None
    assert "each recipe run reads ISPyB itself" in caplog.text
