"""`plaza ispyb …`: look after ISPyB's tables."""

from typing import Annotated

import typer

from flows.cli.ispyb import run as ispyb_run
from flows.cli.ispyb import write_commands as ispyb_commands
from flows.cli.ispyb.option import IspybURL, find_ispyb, open_engines

app = typer.Typer(help="Look after ISPyB: its tables, and what has to be put right.", no_args_is_help=True)
app.command()(ispyb_commands.commands)
app.command()(ispyb_run.run)


@app.callback()
def ispyb() -> None:
    """Look after ISPyB: its tables, and what has to be put right."""


@app.command()
def create(
    ispyb: IspybURL = None,
    url: Annotated[str | None, typer.Option(hidden=True, help="What --ispyb was called.")] = None,
    on_server: Annotated[bool, typer.Option("--on-server", help="Make tables on a database server too.")] = False,
) -> None:
    """Make the tables that are missing, and fill the look-up tables."""
    from blocks.ispyb_connection import safe_url
    from tasks.ispyb_access.schema.tables import METADATA, create_schema

    engines = find_ispyb(ispyb or url)
    create_schema(engines.writing, on_server=on_server)
    typer.echo(f"ISPyB at {safe_url(engines.writing)} has its {len(METADATA.tables)} tables.")
    engines.dispose()


@app.command()
def check(ispyb: IspybURL = None) -> None:
    """Tell what ISPyB lacks of what Plaza uses, and what Plaza's users may not do there.

    Exit status 1 if tables or columns aren't there, or if something can be written or read in no way.
    """
    from blocks.ispyb_connection import safe_url
    from blocks.settings import get_settings
    from blocks.site_ispyb import writer_kind
    from flows.cli.ispyb.rights import tell_rights
    from tasks.ispyb_access.schema.check import check_schema
    from tasks.ispyb_access.schema.rights import check_rights

    with open_engines(ispyb) as engines:
        rights = check_rights(*engines, only_procedures=not ispyb and writer_kind(get_settings()) == "procedures")
        found = check_schema(*(engine for engine in engines if engine is not None))
        for warning in found.warnings:
            typer.echo(warning)
        if found.is_empty:
            raise typer.Exit(1)
        tell_rights(rights, *engines)
        if found.lacks_any or rights.lacks_any:
            raise typer.Exit(1)
        typer.echo(f"ISPyB at {safe_url(engines.writing)} has all that Plaza uses.")
