"""`plaza find`: what a recipe would know of a data collection or a processing job."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.ispyb.option import IspybURL, open_ispyb
from flows.cli.whole_numbers import integer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tasks.ispyb_access.overviews.collections import CollectionSummary

UNKNOWN_RUN = "{guid}"  # what it will be is known when it runs


def find(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[DCID|PATH|RUN]",
            help="A data collection's id, a file or directory of one, or a recipe run's id or recipe ID.",
            show_default=False,
        ),
    ] = None,
    job: Annotated[
        int | None,
        typer.Option("-p", "--job", help="A processing job's id.", show_default=False, parser=integer),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the parameters as one JSON object.")] = False,
    ispyb: IspybURL = None,
    guid: Annotated[str, typer.Option(help="Show the folders of a recipe run of this id.")] = UNKNOWN_RUN,
) -> None:
    """Print what a recipe would know: the `ispyb_…` parameters. Of a recipe run, print what it did know.

    Nothing is written. Exits with 1 if there is no such data collection, job or run, and if several data collections
    are at a path and --json wants one.
    """
    if target is None and job is None:
        raise typer.BadParameter("say what to find: a data collection, a path, a recipe run, or a job (-p)")
    if target is None or target.isdecimal():
        known = _named(target, job)
        with open_ispyb(ispyb) as engine:
            _show(_read(engine, known, guid), as_json=as_json)
    elif _is_path(target):
        with open_ispyb(ispyb) as engine:
            _find_at_path(engine, target, job, guid, as_json=as_json)
    else:
        _show(_parameters_of_run(target), as_json=as_json)


def _named(dcid: Any, job: int | None) -> dict[str, Any]:
    named = {"ispyb_dcid": dcid, "ispyb_process": job}
    return {name: value for name, value in named.items() if value is not None}


def _is_path(target: str) -> bool:
    return "/" in target or Path(target).exists()


def _find_at_path(engine: Engine, target: str, job: int | None, guid: str, *, as_json: bool) -> None:
    from blocks.errors import UnknownDataCollection
    from flows.cli.collections.output import print_collections

    found = _collections_at(engine, target)
    if len(found) == 1:
        _show(_read(engine, _named(found[0].dcid, job), guid), as_json=as_json)
    elif as_json:
        dcids = ", ".join(str(some.dcid) for some in found[:10])
        raise UnknownDataCollection(f"{len(found)} data collections are at {target}: say which one, of {dcids}")
    else:
        print_collections(found)
        typer.echo(f"{len(found)} data collections, the latest first; `plaza find DCID` shows one of them")


def _collections_at(engine: Engine, target: str) -> list[CollectionSummary]:
    """Return the data collections at a path; where it leads, if ISPyB doesn't know it as it was said."""
    from blocks.errors import UnknownDataCollection
    from tasks.ispyb_access.overviews.collections import find_by_path

    said, real = os.path.abspath(target), os.path.realpath(target)  # noqa: PTH100  # Path.absolute() keeps ".."
    try:
        return find_by_path(engine, PurePosixPath(said))
    except UnknownDataCollection:
        if real == said:
            raise
        return find_by_path(engine, PurePosixPath(real))


def _read(engine: Engine, known: Mapping[str, Any], guid: str) -> dict[str, Any]:
    from tasks.ispyb_access.reading.reader import complete_parameters
    from tasks.ispyb_access.reading.visit.files import FileAccess

    return complete_parameters(engine, known, guid, FileAccess.READ).recipe_parameters()


def _parameters_of_run(name: str) -> dict[str, Any]:
    from flows.recipe.run_record.folder import find_run
    from flows.recipe.run_record.manifest import read_manifest
    from tasks.ispyb_access.reading.parameters import parameter_names

    known = read_manifest(find_run(name)).parameters
    names = dict.fromkeys((*parameter_names(), *known))  # in the documentation's order
    return {name: known[name] for name in names if name in known and name.startswith("ispyb_")}


def _show(parameters: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(parameters, ensure_ascii=False))
        return
    from flows.cli.collections.output import print_parameters

    print_parameters(parameters)
