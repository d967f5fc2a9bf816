"""ISPyB's address as a Prefect block, so that a site sets it once for all processes."""

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr
from sqlalchemy import Engine

from blocks.ispyb_connection import open_engine


class ISPyBDatabase(Block):
    """ISPyB on any database that SQLAlchemy reaches.

    Save it as `ispyb-database/plaza`: processes that have a Prefect API and no PLAZA_ISPYB_URL use that one.
    """

    _block_type_name = "ISPyB Database"
    _block_type_slug = "ispyb-database"

    url: SecretStr = Field(description="SQLAlchemy URL: sqlite:///path or mysql+pymysql://user:password@host/ispyb")
    read_url: SecretStr | None = Field(
        None, description="The same as a user that reads, if the user of the URL, which writes, may not"
    )
    writer: Literal["sql", "procedures"] = Field(
        "sql",
        description="How it is written: by SQL, and where grants forbid that by the database's procedures, or always "
        "by these",
    )

    def connect(self) -> Engine:
        """Open the database; nothing is reached out for until the first transaction."""
        return open_engine(self.url.get_secret_value(), "url of the block ispyb-database/plaza")

    def connect_reader(self) -> Engine | None:
        """Open the database as the user that reads; None if that is the one that writes."""
        if self.read_url is None:
            return None
        return open_engine(self.read_url.get_secret_value(), "read_url of the block ispyb-database/plaza")
