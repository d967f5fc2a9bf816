"""What the cluster's log is told."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from distributed.comm import listen

from blocks.cluster_keys import make_keys, security
from flows.site.analysis_cluster import is_worth_telling


@pytest.fixture
def filtered(caplog):
    logger = logging.getLogger("distributed.comm.tcp")
    logger.addFilter(is_worth_telling)
    logger.addHandler(caplog.handler)  # Dask's loggers tell those above them nothing
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.removeFilter(is_worth_telling)


@pytest.mark.parametrize(("words", "is_told"), [(b"", False), (b"GET / HTTP/1.0\r\n\r\n", True)])
async def test_a_look_at_the_port_is_not_told_but_who_speaks_without_keys_is(filtered, tmp_path, words, is_told):
    make_keys(tmp_path)
    arguments = security(tmp_path).get_listen_args("scheduler")
    async with listen("tls://127.0.0.1:0", lambda _: None, **arguments) as listener:
        with socket.create_connection(listener.get_host_port()) as connection:
            connection.sendall(words)
        await asyncio.sleep(0.3)
    assert ("handshake failed" in filtered.text) is is_told
