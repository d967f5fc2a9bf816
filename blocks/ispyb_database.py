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
    writer: Literal["sql", "procedures"] = Field(
        "sql", description="How it is written: by SQL, or by the database's procedures where grants forbid direct SQL"
    )

    def connect(self) -> Engine:
        """Open the database; nothing is reached out for until the first transaction."""
        return open_engine(self.url.get_secret_value())
