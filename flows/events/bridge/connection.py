"""Connect to RabbitMQ: any member of it, by the address that the site has set."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelInvalidStateError, InvalidFrameError

from blocks.broker_address import BrokerAddress
from blocks.errors import PassingFault

logger = logging.getLogger(__name__)

_CONNECT_S: Final = 10.0
_HEARTBEAT_S: Final = 30
FAULTS: Final = aio_pika.exceptions.CONNECTION_EXCEPTIONS
"""What the broker, or the way to it, may answer with: aio-pika has no common base for it."""


class BrokerUnavailable(PassingFault):
    """No member of the broker can be reached, or it refuses us."""


async def connect(address: BrokerAddress, vhost: str | None = None) -> AbstractConnection:
    """Connect to one of the broker's members, tried in random order.

    Parameters
    ----------
    vhost
        Another virtual host than that of the address.

    Raises
    ------
    BrokerUnavailable
        None of them takes us.
    ConfigurationError
        What TLS takes can't be read.
    """
    vhost = address.vhost if vhost is None else vhost
    reasons = []
    for host, port in random.sample(address.hosts, len(address.hosts)):
        try:
            return await asyncio.wait_for(
                aio_pika.connect(
                    host=host,
                    port=port,
                    login=address.username,
                    password=address.password,
                    virtualhost=vhost,
                    ssl=address.tls,
                    ssl_context=address.tls_context(),
                    heartbeat=_HEARTBEAT_S,
                    client_properties={"connection_name": "Plaza's bridge"},
                ),
                _CONNECT_S,
            )
        except FAULTS as error:
            reasons.append(f"{host}:{port}: {_reason(error)}")
    raise BrokerUnavailable(f"virtual host {vhost}: {'; '.join(reasons)}")


def in_words(error: BaseException) -> str:
    """Say what a fault of the broker's was, in words: some of aiormq's say nothing, others show an object's address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = " ".join(str(error).split())
    if isinstance(error, ChannelInvalidStateError | RuntimeError) or not text or text.startswith("<"):
        return "the connection was lost"
    return text[:200]


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_S:.0f} s"
    if isinstance(error, InvalidFrameError):  # it hangs up in the stead of an answer
        return "refused: the virtual host isn't there, or isn't for this user"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
