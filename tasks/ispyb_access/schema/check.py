"""Whether a site's ISPyB has the tables and columns that Plaza uses: its schema may be older than our models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, inspect, select
from sqlalchemy.exc import DBAPIError

from blocks.ispyb_connection import transaction
from tasks.ispyb_access.schema.rights import READ
from tasks.ispyb_access.schema.tables import METADATA, SCHEMA_VERSION
from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS

USED: Final = tuple(
    sorted(
        {*READ}.union(
            *(
                needs.tables
                for command in (*COMMANDS.values(), *BUFFER_COMMANDS.values())
                for needs in command.all_needs
            )
        )
    )
)
"""What is read, and what commands have to do with."""
NOT_USED: Final = frozenset({"AutoProcProgram.jobUuid"})  # newer than many sites' schemas


@dataclass(frozen=True)
class SchemaReport:
    """What a database lacks of what Plaza uses, or doesn't show to us for want of grants.

    Parameters
    ----------
    version
        What the database calls its schema; None if it doesn't say.
    missing_tables, missing_columns
        Sorted names, those of columns behind their table's.
    """

    version: str | None
    missing_tables: tuple[str, ...]
    missing_columns: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """None of the tables is there."""
        return len(self.missing_tables) == len(USED)

    @property
    def lacks_any(self) -> bool:
        """Something that Plaza uses isn't there."""
        return bool(self.missing_tables or self.missing_columns)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What somebody should know, in sentences."""
        if self.is_empty:
            return ("ISPyB has none of its tables: make them with `plaza ispyb create`.",)
        found = []
        if self.missing_columns:
            found.append(f"ISPyB lacks columns that Plaza uses: {', '.join(self.missing_columns)}.")
        if self.missing_tables:
            found.append(
                f"ISPyB lacks tables that Plaza uses, or shows them only to others: {', '.join(self.missing_tables)}."
            )
        if self.version != SCHEMA_VERSION:
            found.append(
                f"ISPyB's schema is of version {self.version or 'unknown'}, Plaza's models are of {SCHEMA_VERSION}."
            )
        return tuple(found)


def check_schema(engine: Engine, *others: Engine) -> SchemaReport:
    """Compare a database with what is used of it: a few dozen of ISPyB's two hundred tables.

    Parameters
    ----------
    engine, others
        The database, as each user who may see some of its tables.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    ConfigurationError
        It refuses us.
    """
    used = {name.lower(): METADATA.tables[name] for name in USED}  # some servers fold the names of tables
    version: str | None = None
    present: dict[str, set[str]] = {}
    for each in (engine, *others):
        with transaction(each, read_only=True) as connection:
            version = version or _version(connection)
            for name, columns in _present_columns(connection, used).items():
                present.setdefault(name, set()).update(columns)
    missing = [
        str(column)
        for name, columns in present.items()
        for column in used[name].columns
        if column.name.lower() not in columns
    ]
    missing_tables = sorted(table.name for name, table in used.items() if name not in present)
    return SchemaReport(version, tuple(missing_tables), tuple(sorted(set(missing) - NOT_USED)))


def _present_columns(connection: Connection, used: Collection[str]) -> dict[str, set[str]]:
    """Return the columns of tables that a user is shown, all in lower case."""
    inspector = inspect(connection)
    names = [name for name in inspector.get_table_names() if name.lower() in used]
    reflected = inspector.get_multi_columns(filter_names=names) if names else {}
    return {(name or "").lower(): {one["name"].lower() for one in columns} for (_, name), columns in reflected.items()}


def _version(connection: Connection) -> str | None:
    variables = METADATA.tables["AdminVar"]
    wanted = select(variables.c.value).where(variables.c.name == "schemaVersion")
    try:
        version: str | None = connection.scalar(wanted)
    except DBAPIError:  # no such table, or not for us
        return None
    return version
