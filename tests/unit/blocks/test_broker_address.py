"""The broker's address, in a setting or a block; its password is shown nowhere."""

import pytest

from blocks.broker_address import BrokerAddress, read_broker_url
from blocks.errors import ConfigurationError
from blocks.settings import Settings
from blocks.site_broker import find_broker


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://a:b@mq", BrokerAddress((("mq", 5672),), "zocalo", "a", "b")),
        ("amqp://mq/x", BrokerAddress((("mq", 5672),), "x")),
        ("amqp://a:b@mq1:1,mq2/%2F", BrokerAddress((("mq1", 1), ("mq2", 5672)), "/", "a", "b")),
        ("amqps://a:p%40:%2F@mq/zocalo", BrokerAddress((("mq", 5671),), "zocalo", "a", "p@:/", tls=True)),
        ("amqp://a:b@[::1]:5/z", BrokerAddress((("::1", 5),), "z", "a", "b")),
        (
            "amqp://a:b@mq/zocalo?stomp_vhost=/&xrc_beamlines=i03,i24&gpu_beamlines=",
            BrokerAddress(
                (("mq", 5672),), "zocalo", "a", "b", stomp_vhost="/", xrc_beamlines=("i03", "i24"), gpu_beamlines=()
            ),
        ),
    ],
)
def test_a_url_says_where_the_broker_is(url, address):
    assert read_broker_url(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://a:secret@mq", "amqp://"),
        ("secret", "amqp://"),
        ("amqp://a:secret@", "no host"),
        ("amqp://a:secret@mq:x/zocalo", "port of mq"),
        ("amqp://a:secret@mq:70000/zocalo", "port of mq"),
        ("amqp://a:secret@mq/zocalo?vhost=x", "unknown options vhost"),
        ("amqp://a:secret@[mq/zocalo", "can't be read"),
        ("amqp://a:secret@m q/zocalo", "no name"),
    ],
)
def test_a_url_that_can_not_be_read_is_refused_without_its_password(url, reason):
    with pytest.raises(ConfigurationError) as refused:
        read_broker_url(url)
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_password_is_shown_nowhere():
    url = "amqp://plaza:s3cret@mq:1/zocalo"
    settings = Settings(broker_url=url)
    address = find_broker(settings)
    assert address is not None
    assert address.password == "s3cret"
    for shown in (str(address), repr(address), str(settings), repr(settings)):
        assert "s3cret" not in shown
    assert str(address) == "mq:1, virtual host zocalo"


def test_a_block_says_the_same():
    from blocks.message_broker import MessageBroker

    block = MessageBroker(hosts=["mq1", "mq2:1"], username="a", password="s3cret", stomp_vhost="/")
    assert block.address() == BrokerAddress((("mq1", 5672), ("mq2", 1)), "zocalo", "a", "s3cret", stomp_vhost="/")
    assert "s3cret" not in repr(block)
    with pytest.raises(ValueError, match="port of mq"):
        MessageBroker(hosts=["mq:x"], username="a", password="b")


def test_a_block_that_can_not_be_read_is_told_without_what_it_holds(monkeypatch):
    from blocks.message_broker import MessageBroker

    def find_block(block_type, *_, **__):
        return block_type.model_validate({"hosts": ["s3cret:x"], "username": "a", "password": ["s3cret"]})

    monkeypatch.setattr("blocks.site_broker.has_prefect_api", lambda: True)
    monkeypatch.setattr("blocks.saved_blocks.find_block", find_block)
    with pytest.raises(ConfigurationError, match="wrong fields: hosts, password") as refused:
        find_broker(Settings())
    assert "s3cret" not in str(refused.value)
    assert MessageBroker.get_block_type_slug() == "message-broker"
