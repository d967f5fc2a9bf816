"""What supervisord tells the services of the site: that all of it goes down."""

from __future__ import annotations

import pytest
from supervisor import events

from flows.site.running_site import STOPPING_FILE
from flows.site.supervision.process import StoppingMark


@pytest.fixture
def home(tmp_path):
    events.clear()
    (tmp_path / "run").mkdir()
    yield tmp_path
    events.clear()


def test_file_says_that_the_site_goes_down_from_the_moment_on_that_it_does(home):
    file = home / STOPPING_FILE
    file.touch()  # left by a site that was killed while it stopped
    StoppingMark(None, str(home))
    assert not file.exists()
    events.notify(events.SupervisorRunningEvent())
    assert not file.exists()
    events.notify(events.SupervisorStoppingEvent())
    assert file.exists()


def test_file_that_can_not_be_made_does_not_keep_the_site_up(home, caplog):
    StoppingMark(None, str(home))
    (home / "run").rmdir()
    events.notify(events.SupervisorStoppingEvent())
    assert "can't be made" in caplog.text
