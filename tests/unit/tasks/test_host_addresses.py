"""A name server that is slow, away or wrong holds nobody back."""

import asyncio
import gc
import socket
import threading
import time

import pytest

from tasks import host_addresses
from tasks.host_addresses import ADDRESS_S, FAILURE_S, HostAddresses

HERE = (socket.AF_INET, ("192.0.2.1", 9))
THERE = (socket.AF_INET, ("192.0.2.2", 9))
AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class NameServer:
    """Gives its answer once it's let; counts who asks."""

    def __init__(self):
        self.answer, self.asked, self.goes_on, self.now = HERE, 0, threading.Event(), 1000.0
        self.goes_on.set()

    def getaddrinfo(self, host, port, **_):
        self.asked += 1
        assert self.goes_on.wait(timeout=60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [(self.answer[0], socket.SOCK_DGRAM, 17, "", self.answer[1])]


@pytest.fixture
def server(monkeypatch):
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.goes_on.set()


@pytest.fixture
def addresses(server):
    return HostAddresses(lambda: server.now)


async def ask(addresses, server):
    """Ask, and let what is asked beside it be answered."""
    try:
        return await addresses.find("gda", 9)
    except OSError as error:
        return error
    finally:
        thread = addresses._known["gda", 9]._thread
        if server.goes_on.is_set():
            await asyncio.to_thread(thread.join, 60)


async def test_many_at_once_ask_once(addresses, server):
    assert await asyncio.gather(*(addresses.find("gda", 9) for _ in range(20))) == [HERE] * 20
    assert server.asked == 1


async def test_an_address_is_asked_for_again_after_a_while(addresses, server):
    await ask(addresses, server)
    server.answer = THERE
    server.now += ADDRESS_S - 1
    assert await ask(addresses, server) == HERE
    assert server.asked == 1
    server.now += 2
    await ask(addresses, server)
    assert await ask(addresses, server) == THERE


async def test_an_address_is_kept_while_the_name_server_is_away_or_silent(addresses, server):
    await ask(addresses, server)
    server.answer = AWAY
    for _ in range(3):
        server.now += ADDRESS_S
        assert await ask(addresses, server) == HERE
    server.goes_on.clear()
    server.now += ADDRESS_S
    before = time.monotonic()
    assert await ask(addresses, server) == HERE
    assert time.monotonic() - before < 1.0


async def test_a_failure_is_remembered_for_a_while(addresses, server):
    server.answer = AWAY
    assert [await ask(addresses, server) for _ in range(5)] == [AWAY] * 5
    assert server.asked == 1
    server.now += FAILURE_S
    server.answer = HERE
    await ask(addresses, server)
    assert await ask(addresses, server) == HERE


async def test_one_waits_for_the_first_answer_for_a_moment_and_the_others_not_at_all(addresses, server, monkeypatch):
    monkeypatch.setattr(host_addresses, "LONGEST_WAIT_S", 0.05)
    server.goes_on.clear()
    assert (await ask(addresses, server)).errno == socket.EAI_AGAIN
    monkeypatch.setattr(host_addresses, "LONGEST_WAIT_S", 60.0)
    for _ in range(100):
        assert "no name server has answered" in str(await ask(addresses, server))
    assert server.asked == 1
    server.goes_on.set()
    await ask(addresses, server)
    assert await ask(addresses, server) == HERE, "the answer that came late"


def test_an_answer_after_the_end_of_all_that_waited_for_it_disturbs_nobody(addresses, server, monkeypatch, caplog):
    monkeypatch.setattr(host_addresses, "LONGEST_WAIT_S", 0.05)
    server.goes_on.clear()
    assert asyncio.run(ask(addresses, server)).errno == socket.EAI_AGAIN
    server.goes_on.set()
    addresses._known["gda", 9]._thread.join(timeout=60)
    assert asyncio.run(ask(addresses, server)) == HERE
    gc.collect()
    assert not caplog.records


async def test_what_is_no_name_is_said(addresses, server):
    server.answer = UnicodeError("label too long")
    with pytest.raises(UnicodeError, match="label too long"):
        await addresses.find("gda", 9)
