"""What happened to a connection is told in words."""

import pytest
from aio_pika.exceptions import ChannelInvalidStateError, ConnectionClosed

from flows.events.bridge.connection import in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ChannelInvalidStateError(), "the connection was lost"),
        (ChannelInvalidStateError("<Channel: '1' at 0x7f>"), "the connection was lost"),
        (RuntimeError("<Channel: '1' at 0x7f> closed"), "the connection was lost"),
        (ConnectionError(), "the connection was lost"),
        (TimeoutError(), "no answer in time"),
        (ConnectionClosed(320, "CONNECTION_FORCED - shutdown"), "CONNECTION_FORCED - shutdown"),
        (ConnectionError("refused\nby the host"), "refused by the host"),
    ],
)
def test_a_fault_of_the_brokers_is_told_in_words(error, words):
    assert words in in_words(error)
