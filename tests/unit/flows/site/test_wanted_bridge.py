"""`plaza up --bridge`: what is said where the bridge can't be had."""

import logging
from types import SimpleNamespace

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import Settings
from flows.events.bridge.state import BridgeState
from flows.site import readiness, services
from flows.site.running_site import RunningSite
from flows.site.supervision import ServiceState

STATE = BridgeState(pid=7, written_at=0, started_at=0, broker="mq:1", connected_since=1.0)
SITE = RunningSite("home", "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tls://127.0.0.1:8")


def supervisor(*names):
    return SimpleNamespace(
        home="home",
        is_alive=lambda: True,
        is_going_down=False,
        states=lambda: [ServiceState(name, "RUNNING", 7, 1, "") for name in names],
        start_stopped=lambda: None,
    )


@pytest.fixture(autouse=True)
def running(monkeypatch):
    monkeypatch.setattr(services, "site_processes", lambda home: [])
    monkeypatch.setattr(services, "read_running_site", lambda settings: SITE)


def test_a_site_that_is_up_without_it_has_to_be_started_anew(tmp_path):
    wanted = Settings(home=tmp_path, bridge=True)
    with pytest.raises(ConfigurationError, match="plaza down"):
        services._running_already(supervisor("worker"), wanted)
    assert services._running_already(supervisor("worker", "bridge"), wanted) is SITE
    assert services._running_already(supervisor("worker", "bridge"), Settings(home=tmp_path)) is SITE


def test_an_address_that_can_not_be_read_is_told_before_anything_is_started(tmp_path):
    home = tmp_path / "home"
    with pytest.raises(ConfigurationError, match="PLAZA_BROKER_URL"):
        services.up(Settings(home=home, bridge=True, broker_url="mq:5672"))
    assert not home.exists()


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (STATE, None),
        (None, None),
        (STATE.model_copy(update={"broker": None, "last_error": "no broker is set"}), "no broker"),
    ],
)
def test_a_bridge_without_a_broker_is_an_error(state, error, monkeypatch):
    monkeypatch.setattr(readiness, "bridge_state", lambda home, states: state)
    if error is None:
        readiness._check_bridge(supervisor("bridge"))
        return
    with pytest.raises(ConfigurationError, match=error):
        readiness._check_bridge(supervisor("bridge"))


def test_a_broker_that_is_away_is_none(monkeypatch, caplog):
    away = STATE.model_copy(update={"connected_since": None, "last_error": "refused"})
    monkeypatch.setattr(readiness, "bridge_state", lambda home, states: away)
    with caplog.at_level(logging.WARNING):
        readiness._check_bridge(supervisor("bridge"))
    assert "mq:1" in caplog.text
