"""Free and taken ports."""

from __future__ import annotations

import os
import socket

import pytest

from flows.site.ports import PortTaken, answers, claim_port, listen, reached_at


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
        listen(0, "the demo", "PLAZA_DEMO_PORT", "192.0.2.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_nobody_else_gets_a_port_while_it_is_listened_on(host):
    with listen(0, "the demo", "PLAZA_DEMO_PORT", host) as ours:
        port = ours.getsockname()[1]
        assert answers(port)  # though nobody accepts yet
        for address in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(PortTaken):
                listen(port, "the demo", "PLAZA_DEMO_PORT", address)
    listen(port, "the demo", "PLAZA_DEMO_PORT", host).close()


def test_a_port_that_is_bound_but_not_listened_on_is_left_to_who_listens_first():
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        with listen(bound.getsockname()[1], "the demo", "PLAZA_DEMO_PORT"), pytest.raises(OSError, match="in use"):
            bound.listen()


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::", "[::1]"), ("i03-control", "i03-control")],
)
def test_own_clients_use_loopback_where_they_can(host, reached):
    assert reached_at(host) == reached


def test_listening_port_answers(listening):
    assert answers(listening)
    assert not answers(claim_port(0, "the demo", "PLAZA_DEMO_PORT"))
