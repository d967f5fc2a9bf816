"""Mimas has patience with a database that is away and a beamline that isn't done, but not for ever."""

import pytest

from blocks.errors import DatabaseUnavailable, UnknownDataCollection
from blocks.retrying import Pauses
from flows.recipe import ispyb_reading as reading
from tasks.ispyb_access.reading import reader
from tasks.ispyb_access.reading.parameters import ReadParameters


class Fakes:
    """Resources whose ISPyB is never reached, since the reader is replaced."""

    ispyb = None


@pytest.fixture
def answers(monkeypatch):
    """Replace the reader by one that gives the answers in turn, the last one for ever; quick pauses."""

    def arrange(*answers):
        left = list(answers)

        def read(*question, **more):
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(reader, "read_run_status", read)
        monkeypatch.setattr(reader, "complete_parameters", read)
        monkeypatch.setattr(reader, "read_data_collection", read)
        return left

    monkeypatch.setattr(reading, "PAUSES", Pauses(0.0, 0.0))
    monkeypatch.setattr(reading, "STATUS_INTERVAL_S", 0.01)
    return arrange


async def test_run_status_is_waited_for(answers):
    left = answers(None, None, "", "DataCollection Stopped")
    assert await reading.await_run_status(Fakes(), 12, timeout_s=60) == "DataCollection Stopped"
    assert len(left) == 1


async def test_run_status_that_is_there_is_not_waited_for(answers):
    answers("DataCollection Successful")
    assert await reading.await_run_status(Fakes(), 12, timeout_s=0) == "DataCollection Successful"


async def test_waiting_for_run_status_ends(answers):
    answers(None)
    with pytest.raises(reading.RunStatusMissing, match=r"12 still has no runStatus in ISPyB after 0\.05 s: expected"):
        await reading.await_run_status(Fakes(), 12, timeout_s=0.05)


async def test_unknown_data_collection_is_not_waited_for(answers):
    answers(UnknownDataCollection("no data collection 12"))
    with pytest.raises(UnknownDataCollection):
        await reading.await_run_status(Fakes(), 12, timeout_s=60)


async def test_reading_goes_on_when_the_database_is_back(answers, caplog):
    parameters = ReadParameters(given={"ispyb_dcid": 12, "ispyb_beamline": "i03"})
    answers(DatabaseUnavailable("ISPyB is away"), DatabaseUnavailable("ISPyB is away"), parameters)
    assert await reading.read_ispyb_parameters(Fakes(), {"ispyb_dcid": 12}, "guid") == parameters
    assert caplog.text.count("ISPyB is away (again in 0.0 s)") == 2


async def test_a_collection_is_read_with_the_same_patience(answers, caplog):
    answers(DatabaseUnavailable("ISPyB is away"), "a collection")
    assert await reading.read_collection(Fakes(), 12, "guid") == "a collection"
    assert caplog.text.count("ISPyB is away (again in 0.0 s)") == 1


async def test_a_database_that_stays_away_is_given_up(answers, monkeypatch):
    monkeypatch.setattr(reading, "OUTAGE_PATIENCE_S", -1.0)
    answers(DatabaseUnavailable("ISPyB is away"))
    with pytest.raises(DatabaseUnavailable):
        await reading.read_ispyb_parameters(Fakes(), {"ispyb_dcid": 12}, "guid")
