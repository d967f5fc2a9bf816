"""What the bridge says on Zocalo's exchanges, and which commands are for it."""

import pytest

from flows.events.bridge.broadcasts import Broadcaster, ServiceStatus, asks_to_stop, host_name

HOST = "uk.ac.diamond.i03-ws001.17"


@pytest.mark.parametrize(
    ("command", "stops"),
    [
        ({"command": "shutdown", "service": "PlazaBridge"}, True),
        ({"command": "shutdown", "host": HOST}, True),
        ({"command": "shutdown", "host": f"{HOST}8"}, False),
        ({"command": "shutdown", "service": "DLSDispatcher"}, False),
        ({"command": "shutdown"}, False),
        ({"command": ["shutdown"], "service": "PlazaBridge"}, False),
        ({"service": "PlazaBridge"}, False),
    ],
)
def test_only_commands_for_the_bridge_stop_it(command, stops):
    assert asks_to_stop(command, HOST) is stops


def test_a_status_has_the_keys_that_monitors_read():
    said = Broadcaster(HOST, lambda: ServiceStatus.IDLE).status(ServiceStatus.SHUTTING_DOWN)
    assert (said["host"], said["status"], said["statustext"]) == (HOST, 5, "shutting down")
    assert sum(said["utilization"].values()) == pytest.approx(1.0, abs=0.01)


def test_the_host_is_named_backwards_and_with_its_process(monkeypatch):
    monkeypatch.setattr("socket.getfqdn", lambda: "i03-ws001.diamond.ac.uk")
    monkeypatch.setattr("os.getpid", lambda: 17)
    assert host_name() == HOST
