"""A Mimas that takes what is sent, and a clock that tests move."""

import pytest

from flows.events import submitting
from flows.events.drop_folder import delivery
from tests.support.fake_mimas import FakeMimas


@pytest.fixture
def mimas(monkeypatch):
    mimas = FakeMimas()
    for module in (delivery, submitting):
        monkeypatch.setattr(module, "open_sender", mimas.open_sender)
    monkeypatch.setattr(submitting, "PATIENCE_S", 0.3)
    return mimas


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    seconds = [1000.0]
    monkeypatch.setattr(delivery.time, "monotonic", lambda: seconds[0])

    def wait(duration):
        seconds[0] += duration

    return wait
