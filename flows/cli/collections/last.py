"""`plaza last`: the latest data collections of a beamline."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.ispyb.option import IspybURL, open_ispyb


def last(
    beamline: Annotated[str, typer.Argument(help="The beamline, as in i03.", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each.")] = False,
    ispyb: IspybURL = None,
) -> None:
    """Print the latest data collections of a beamline, the latest first."""
    from flows.cli.collections.output import print_collections
    from tasks.ispyb_access.overviews.collections import latest_collections

    with open_ispyb(ispyb) as engine:
        found = latest_collections(engine, beamline, count)
    if as_json:
        for collection in found:
            typer.echo(collection.model_dump_json())
    elif found:
        print_collections(found)
    else:
        typer.echo(f"no data collections on {beamline} so far")
