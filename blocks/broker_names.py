"""Names of queues and exchanges: AMQP has 255 bytes for one, and none that isn't UTF-8."""

from typing import Annotated, Final

from pydantic import AfterValidator

MOST_BYTES: Final = 255


def broker_name_fault(name: str) -> str | None:
    """Say why no queue, exchange or routing key can have a name; None if one can."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it isn't UTF-8"
    if size > MOST_BYTES:
        return f"it has {size} bytes, and RabbitMQ takes names of {MOST_BYTES} at most"
    return "it has characters that can't be printed" if not name.isprintable() else None


def _checked(name: str) -> str:
    if fault := broker_name_fault(name):
        raise ValueError(f"no queue or exchange can be called {name[:60]!r}: {fault}")
    return name


BrokerName = Annotated[str, AfterValidator(_checked)]
