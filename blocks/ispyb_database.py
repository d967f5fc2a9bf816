"""ISPyB's address as a Prefect block, so that a site sets it once for all processes."""

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from pydantic import Field, SecretStr
from sqlalchemy import Engine

from blocks.errors import DatabaseUnavailable
from blocks.ispyb_connection import open_engine


class ISPyBDatabase(Block):
    """ISPyB on any database that SQLAlchemy reaches.

    Save it as `ispyb-database/plaza`: processes that have a Prefect API and no PLAZA_ISPYB_URL use that one.
    """

    _block_type_name = "ISPyB Database"
    _block_type_slug = "ispyb-database"

    url: SecretStr = Field(description="SQLAlchemy URL: sqlite:///path or mysql+pymysql://user:password@host/ispyb")

    def connect(self) -> Engine:
        """Open the database; nothing is reached out for until the first transaction."""
        return open_engine(self.url.get_secret_value())


def find_url(name: str) -> str | None:
    """Return the URL that a saved block holds; None if there is no such block.

    It asks synchronously and by itself, so it works within an event loop too (`Block.load` would return a coroutine).

    Raises
    ------
    DatabaseUnavailable
        Prefect's API doesn't answer.
    """
    try:
        # The API that is configured, never a server that Prefect would start for us.
        with get_client(sync_client=True) as client:
            document = client.read_block_document_by_name(name, ISPyBDatabase.get_block_type_slug())
    except ObjectNotFound:
        return None
    except httpx.HTTPError as error:
        raise DatabaseUnavailable(
            f"Prefect's API doesn't answer ({error}), so the block ispyb-database/{name} can't be asked for ISPyB's "
            "address; start Prefect's server, or set PLAZA_ISPYB_URL"
        ) from error
    return ISPyBDatabase.model_validate(document.data).url.get_secret_value()
