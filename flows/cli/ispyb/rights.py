"""What ISPyB's users may do, for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from blocks.ispyb_connection import safe_url
from flows.cli.tables import print_table
from tasks.ispyb_access.writing.grants.granted import granted_to
from tasks.ispyb_access.writing.ways import Way

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tasks.ispyb_access.schema.rights import CommandRights, UserRights


def tell_rights(rights: UserRights, writing: Engine, reading: Engine | None) -> None:
    """Print how each command can be carried out, and what would have to be granted; nothing if all is by SQL."""
    if not rights.is_unlimited:
        typer.echo(f"{safe_url(writing)} is written as {granted_to(writing).user}:")
        print_table(("COMMAND", "GIVEN", "IT IS WRITTEN"), map(_row, rights.commands))
        for command in rights.commands:
            if command.lack is not None:
                given = f" ({command.given})" if command.given else ""
                typer.echo(f"{command.name}{given} can't be written. {command.lack}")
        if not rights.has_ledger:
            typer.echo(
                "There is no ledger that may be used: what comes again after a crash may be written twice "
                "(docs/how-to/use-your-own-ispyb.md)."
            )
    for name, statements in rights.unfound.items():
        typer.echo(
            f"{name} can't find what was written before, and writes it again. Have the administrator do: "
            f"{'; '.join(statements)}"
        )
    if rights.unread:
        reader = granted_to(reading or writing).user
        typer.echo(f"{reader} may not read all that is read: {'; '.join(rights.unread)}")
    for role, user in rights.inactive_roles:
        typer.echo(f"The role {role} of {user} isn't active: SET DEFAULT ROLE makes it so.")


def _row(command: CommandRights) -> tuple[str, str, str]:
    from tasks.ispyb_access.writing.procedures.coverage import called

    by_procedures = {Way.NEW_BY_SQL, Way.PROCEDURES, Way.SQL_AND_PROCEDURES}
    routines = ", ".join(called(command.name, command.given or None)) if command.way in by_procedures else ""
    return command.name, command.given, command.way.value + (f": {routines}" if routines else "")
