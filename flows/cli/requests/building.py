"""What `plaza go` asks for, from its arguments: the same message as `zocalo.go` sends for them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blocks.errors import PlazaError, UnknownStep
from blocks.identifiers import parse_dcid, parse_job_id
from blocks.settings import get_settings
from blocks.validation_faults import describe
from flows.events.request import RunRequest
from flows.recipe.language.files import read_text
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.language.validation import read_recipe
from flows.recipe.source import file_of
from tasks.step.registry import queue_of


class WrongArguments(PlazaError, ValueError):
    """Arguments that ask for nothing that could be run."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of `plaza go`.

    Parameters
    ----------
    ids
        What stands without an option: one id, of a data collection or a job.
    parameters
        As they were given: KEY=VALUE.
    """

    ids: Sequence[str] = ()
    recipes: Sequence[str] = ()
    file: Path | None = None
    parameters: Sequence[str] = ()
    no_dcid: bool = False
    is_job: bool = False
    scaling: str | None = None


def request_of(arguments: Arguments) -> RunRequest:
    """Return the request that the arguments are.

    Raises
    ------
    WrongArguments
        There is nothing to run, or for nothing, or a value is none.
    RecipeError
        The file is no recipe, or an empty one.
    """
    parameters: dict[str, Any] = dict(map(_key_value, arguments.parameters))
    parameters |= _id(arguments)
    if arguments.scaling is not None:
        parameters["ispyb_autoprocscalingid"] = _whole_number("-a", arguments.scaling)
    if not (arguments.recipes or arguments.file or arguments.is_job):
        raise WrongArguments(
            "nothing to run: name a recipe with -r, a recipe file with -f, or a job, whose recipe is in ISPyB, with -p"
        )
    custom = {} if arguments.file is None else {"custom_recipe": _custom_recipe(arguments.file)}
    try:
        return RunRequest.model_validate({"recipes": tuple(arguments.recipes), "parameters": parameters, **custom})
    except ValidationError as error:
        raise WrongArguments(describe(error)) from error


def message_of(request: RunRequest) -> dict[str, Any]:
    """Return a request as Zocalo's clients send it."""
    custom = {} if request.custom_recipe is None else {"custom_recipe": dict(request.custom_recipe)}
    return {"recipes": list(request.recipes), "parameters": dict(request.parameters), **custom}


def check_names(request: RunRequest) -> None:
    """Check that the site has the recipes, as far as its recipes' folder can be seen from here.

    Raises
    ------
    WrongArguments
        One isn't there.
    """
    from flows.events.dispatching import MIMAS  # which needs no file: it's told

    folder = get_settings().recipe_directory
    if not folder.is_dir():
        return
    for name in request.recipes:
        if name != MIMAS and not file_of(name).is_file():
            raise WrongArguments(f"the recipe {name!r:.100} is unknown: there is no file {file_of(name)}")


def queues_without_step(request: RunRequest) -> list[str]:
    """Say of each node of a custom recipe that no step serves it, for those whose queue isn't still to be filled in."""
    told = []
    for number, node in recipe_from_document(request.custom_recipe).nodes.items() if request.custom_recipe else ():
        try:
            if "{" not in str(node.get("queue")):
                queue_of(number, node)
        except UnknownStep as error:
            told.append(str(error))
    return told


def own_headers() -> dict[str, str]:
    """Return who asks, and on which host, as `zocalo.go` says it, and dodal's variables for others who ask."""
    try:
        user = getuser()
    except (KeyError, OSError):  # nobody whom this machine knows
        user = str(os.getuid())
    return {
        "zocalo.go.user": os.environ.get("ZOCALO_GO_USER") or user,
        "zocalo.go.host": os.environ.get("ZOCALO_GO_HOSTNAME") or platform.node(),
    }


def _id(arguments: Arguments) -> dict[str, int]:
    ids, what = arguments.ids, "job" if arguments.is_job else "data collection"
    if arguments.no_dcid:
        if arguments.is_job:
            raise WrongArguments("-n and -p contradict one another: a job has an id; give it with -p, and leave out -n")
        if ids:
            raise WrongArguments(f"-n says that there's no data collection, but {' '.join(ids)!r:.100} was given")
        return {}
    if not ids:
        raise WrongArguments(f"no id of a {what} was given: give one, or say -n if it's for none")
    if len(ids) > 1:
        raise WrongArguments(f"expected the id of one {what}, seen {len(ids)}: {' '.join(ids)!r:.100}")
    if arguments.is_job:
        return {"ispyb_process": parse_job_id(ids[0])}
    return {"ispyb_dcid": parse_dcid(ids[0])}


def _key_value(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise WrongArguments(f"-s: expected KEY=VALUE, seen {text!r:.100}")
    return key, value


def _whole_number(option: str, text: str) -> int:
    try:
        return int(parse_job_id(text))  # the same rule, of another table
    except PlazaError:
        raise WrongArguments(f"{option}: expected an id, a whole number from 1 on, seen {text!r:.60}") from None


def _custom_recipe(file: Path) -> dict[str, Any]:
    read_recipe(file)
    recipe: dict[str, Any] = json.loads(read_text(file))
    return recipe
