"""A supervisord that stops what doesn't want to end: how long that takes is nobody's fault."""

from __future__ import annotations

import os

import pytest

from flows.site.supervision import Service, ServiceFailed, SiteGoesDown, Supervisor, SupervisorAway
from tests.support.checkout import CHECKOUT
from tests.support.commanded_site import await_


@pytest.fixture
def supervisor(tmp_path):
    """A supervisord that answers within half a second or counts as away; its one service ends after one, killed."""
    service = Service("stubborn", ("tests.support.stubborn_service", str(tmp_path / "ready")), 10, stop_timeout_s=1)
    supervisor = Supervisor(tmp_path, timeout_s=0.5)
    supervisor.start([service], {**os.environ, "PYTHONPATH": str(CHECKOUT)})
    await_((tmp_path / "ready").exists, 30)
    process = supervisor.process
    yield supervisor
    process.kill()


def test_a_stubborn_service_is_waited_for_until_it_has_been_killed(supervisor):
    supervisor.stop("stubborn")
    [state] = supervisor.states()
    assert (state.state, state.pid, state.is_left) == ("STOPPED", 0, True)
    supervisor.stop("stubborn")  # has ended: nothing to be done
    with pytest.raises(ServiceFailed, match="no service worker"):
        supervisor.stop("worker")


def test_while_everything_is_stopped_that_can_be_told_and_asked_for_again(supervisor):
    assert not supervisor.is_going_down
    supervisor.shut_down()
    await_(lambda: supervisor.is_going_down, 5)
    with pytest.raises(SiteGoesDown):
        supervisor.states()
    supervisor.shut_down()
    await_(lambda: supervisor.process is None, 30)
    with pytest.raises(SupervisorAway):
        supervisor.states()
    supervisor.shut_down()
    assert not supervisor.is_going_down
