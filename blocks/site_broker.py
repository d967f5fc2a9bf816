"""The site's RabbitMQ: that of the settings, else of the Prefect block `message-broker/plaza`, else none."""

from typing import Final

from pydantic import ValidationError

from blocks.broker_address import BrokerAddress, read_broker_url
from blocks.errors import ConfigurationError, PrefectUnavailable
from blocks.prefect_api import has_prefect_api
from blocks.settings import Settings

BLOCK_NAME: Final = "plaza"
NO_BROKER: Final = (
    "no broker is set for the bridge: expected its address as PLAZA_BROKER_URL "
    "(amqp://user:password@host:port/zocalo) or in the Prefect block message-broker/plaza. Set one "
    "(docs/how-to/zocalo-clients.md), or start the site without --bridge"
)


def find_broker(settings: Settings) -> BrokerAddress | None:
    """Return the broker of this installation; None if it has none.

    Raises
    ------
    ConfigurationError
        Its address can't be read.
    PrefectUnavailable
        Prefect's API, which may know it, doesn't answer.
    """
    if settings.broker_url:
        return read_broker_url(settings.broker_url)
    if not has_prefect_api():
        return None
    from blocks.message_broker import MessageBroker  # Prefect's blocks take a second to import
    from blocks.saved_blocks import find_block

    try:
        block = find_block(
            MessageBroker, BLOCK_NAME, holds="the broker's address", setting="PLAZA_BROKER_URL", away=PrefectUnavailable
        )
    except ValidationError as error:
        # Their names alone: a password may stand in any of them
        wrong = ", ".join(sorted({str(fault["loc"][0]) if fault["loc"] else "all" for fault in error.errors()}))
        raise ConfigurationError(
            f"the Prefect block message-broker/{BLOCK_NAME} can't be read, wrong fields: {wrong}. Save it anew "
            "(docs/how-to/zocalo-clients.md)"
        ) from None
    return None if block is None else block.address()
