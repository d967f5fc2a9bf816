import pytest

from blocks.errors import UnknownDataCollection, UnknownJob
from blocks.identifiers import LARGEST_ID, parse_dcid, parse_job_id


@pytest.mark.parametrize("value", [12, "12", " 12 ", "0012"])
def test_id_may_come_as_text(value):
    assert parse_dcid(value) == parse_job_id(value) == 12


def test_largest_id_is_one():
    assert parse_dcid(str(LARGEST_ID)) == parse_dcid(LARGEST_ID) == LARGEST_ID


@pytest.mark.parametrize(
    "value", ["", "12a", "-1", "1.0", "٣", "1_000", "9" * 5000, 0, -1, 1.0, True, None, [1], LARGEST_ID + 1]
)
def test_what_is_no_id_is_refused(value):
    with pytest.raises(
        UnknownDataCollection, match="is no id of a data collection: expected a whole number from 1 to 4294967295"
    ):
        parse_dcid(value)
    with pytest.raises(UnknownJob, match="is no id of a processing job: expected a whole number"):
        parse_job_id(value)


def test_refusal_shows_no_more_than_the_beginning():
    with pytest.raises(UnknownDataCollection) as refusal:
        parse_dcid("9" * 5000)
    assert len(str(refusal.value)) < 200
