"""What comes to the queue `mimas.held` is held, with all that starts it."""

import pytest

from blocks.errors import MessageRefused
from blocks.settings import Settings
from flows.mimas.backlog import Backlog
from flows.mimas.backlog import step as held_step
from flows.mimas.backlog.step import hold_job
from tasks.step import Message, StepContext
from tests.support.fake_resources import FakeResources


@pytest.fixture
def hold(tmp_path, monkeypatch):
    known = {"dcid": 12, "recipe": "autoprocessing-xia2-dials", "beamline": "i03"}
    monkeypatch.setattr(held_step, "_from_ispyb", lambda resources, job_id, dcid: known)

    def hold(payload, number=1):
        context = StepContext({}, "run", FakeResources(Settings(home=tmp_path)), refuse=pytest.fail)
        sends = hold_job.message_function(hold_job.parameters(), Message(payload, {}, number, 1e9), context)
        assert list(sends) == []
        return Backlog.of(tmp_path).held()

    return hold


def test_a_job_is_held_with_its_trigger_variables_once(hold):
    payload = {"parameters": {"statistic-cluster": "iris", "ispyb_process": "42"}}
    hold(payload)
    (held,) = hold(payload, number=2)
    assert (held.job_id, held.dcid, held.beamline, held.recipe) == (42, 12, "i03", "autoprocessing-xia2-dials")
    assert held.message == payload
    assert held.since.timestamp() == 1e9


def test_a_message_without_a_job_is_held_as_it_came(hold):
    payload = {"recipes": ["x"], "parameters": {"ispyb_dcid": 12, "colour": "red"}, "custom_recipe": None}
    hold(payload)
    (held,) = hold(payload)
    assert (held.job_id, held.message, held.beamline) == (None, payload, "i03")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "expected a message for the dispatcher"),
        ({"recipes": ["x"]}, "expected a message for the dispatcher"),
        ({"parameters": {}}, "nothing would be started"),
        ({"recipes": [], "parameters": {"ispyb_dcid": 12}}, "nothing would be started"),
        ({"parameters": {"ispyb_process": "{ispyb_process}"}}, "is no id of a processing job"),
        ({"parameters": {"ispyb_process": 1, "ispyb_dcid": 0}}, "is no id of a data collection"),
    ],
)
def test_what_would_start_nothing_is_refused(hold, payload, reason):
    with pytest.raises(MessageRefused, match=reason):
        hold(payload)


def test_with_ispyb_away_it_is_held_all_the_same(tmp_path, caplog):
    settings = Settings(home=tmp_path, ispyb_url="mysql+pymysql://nobody:any@127.0.0.1:1/ispyb")
    from flows.resources import SiteResources

    context = StepContext({}, "run", SiteResources(settings), refuse=pytest.fail)
    payload = {"parameters": {"ispyb_process": 42}}
    hold_job.message_function(hold_job.parameters(), Message(payload, {}, 1), context)
    (held,) = Backlog.of(tmp_path).held()
    assert (held.job_id, held.beamline) == (42, None)
    assert "without what ISPyB knows" in caplog.text
