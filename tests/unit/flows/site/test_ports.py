"""Free and taken ports."""

from __future__ import annotations

import os
import socket

import pytest

from flows.site.ports import PortTaken, answers, claim_port, reached_at


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_taken_port_names_holder_and_setting(listening):
    with pytest.raises(PortTaken, match=rf"port {listening} for the demo .*process {os.getpid()}.*PLAZA_DEMO_PORT"):
        claim_port(listening, "the demo", "PLAZA_DEMO_PORT")


def test_zero_gives_a_free_port():
    port = claim_port(0, "the demo", "PLAZA_DEMO_PORT")
    assert port > 0
    assert claim_port(port, "the demo", "PLAZA_DEMO_PORT") == port


def test_address_that_is_not_this_machines_is_refused():
    with pytest.raises(PortTaken, match=r"of 192\.0\.2\.1 for the demo"):
        claim_port(0, "the demo", "PLAZA_DEMO_PORT", "192.0.2.1")


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::", "[::1]"), ("i03-control", "i03-control")],
)
def test_own_clients_use_loopback_where_they_can(host, reached):
    assert reached_at(host) == reached


def test_listening_port_answers(listening):
    assert answers(listening)
    assert not answers(claim_port(0, "the demo", "PLAZA_DEMO_PORT"))
