"""Look for rows that were there before, where whoever writes may not read.

Many sites have two users: one that writes but reads next to nothing, and one that reads. The connection that writes
knows the engine for reading by an execution option.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, Table

from blocks.ispyb_connection import transaction
from tasks.ispyb_access.writing.grants.granted import granted_to
from tasks.ispyb_access.writing.grants.needs import Right

OPTION: Final = "plaza_reading"


def with_reader(connection: Connection, reading: Engine) -> Connection:
    """Have a connection that writes know where to read what its own user may not."""
    return connection.execution_options(**{OPTION: reading})


@contextmanager
def looking(connection: Connection, *tables: Table) -> Iterator[Connection]:
    """Give what may read some tables: the connection itself, else one for reading, which sees what is committed."""
    reading: Engine | None = connection.get_execution_options().get(OPTION)
    if reading is None or not granted_to(connection.engine).missing({table.name: Right.SELECT for table in tables}):
        yield connection
    else:
        with transaction(reading, read_only=True) as other:
            yield other


def may_look(connection: Connection, *tables: Table) -> bool:
    """Tell whether somebody may read some tables."""
    rights = {table.name: Right.SELECT for table in tables}
    reading: Engine | None = connection.get_execution_options().get(OPTION)
    return not granted_to(connection.engine).missing(rights) or (
        reading is not None and not granted_to(reading).missing(rights)
    )
