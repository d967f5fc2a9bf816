"""`plaza event …`: tell Mimas that a data collection started or ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from blocks.identifiers import Dcid
from flows.cli.whole_numbers import integer

if TYPE_CHECKING:
    from flows.events.event import EventKind

app = typer.Typer(help="Tell Mimas of data collections; events are kept while the site is away.", no_args_is_help=True)

DcidArgument = Annotated[
    int, typer.Argument(metavar="DCID", help="The data collection.", show_default=False, parser=integer)
]
Parameters = Annotated[
    list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="For the recipes; any number.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def start(dcid: DcidArgument, parameters: Parameters = None, as_json: AsJson = False) -> None:
    """Tell Mimas that a data collection has started."""
    _tell("start", dcid, parameters or [], as_json)


@app.command()
def end(dcid: DcidArgument, parameters: Parameters = None, as_json: AsJson = False) -> None:
    """Tell Mimas that a data collection has ended."""
    _tell("end", dcid, parameters or [], as_json)


@app.command("start-group")
def start_group(dcid: DcidArgument, parameters: Parameters = None, as_json: AsJson = False) -> None:
    """Tell Mimas that a group of data collections has started, by one of them."""
    _tell("start-group", dcid, parameters or [], as_json)


@app.command("end-group")
def end_group(dcid: DcidArgument, parameters: Parameters = None, as_json: AsJson = False) -> None:
    """Tell Mimas that a group of data collections has ended, by one of them."""
    _tell("end-group", dcid, parameters or [], as_json)


@app.command("list")
def list_events() -> None:
    """List what waits to be sent, and below it what can't be: files, and events of the last day that came by HTTP."""
    from blocks.settings import get_settings
    from flows.cli.events.output import print_events
    from flows.cli.events.refused_by_server import refused_by_server
    from flows.events.drop_folder.folder import DropFolder

    print_events(DropFolder.of(get_settings().home), refused_by_server())


def _tell(event: EventKind, dcid: int, parameters: list[str], as_json: bool) -> None:
    import asyncio

    from flows.cli.events.site_of_events import use_site_of_events

    use_site_of_events()
    from flows.events.telling_mimas import tell_mimas

    told = asyncio.run(tell_mimas(event, Dcid(dcid), dict(map(_key_value, parameters))))
    run, kept = (None if value is None else str(value) for value in (told.flow_run_id, told.kept))
    if as_json:
        typer.echo(json.dumps({"event": event, "dcid": dcid, "flow_run_id": run, "kept": kept}))
    elif kept:
        typer.echo(f"kept until the site takes it: {kept}")
    else:
        typer.echo(f"mimas {event} · dcid {dcid}: flow run {run or 'of the worker'}")


def _key_value(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise typer.BadParameter(f"expected KEY=VALUE, seen {text!r}", param_hint="--param")
    return key, value
