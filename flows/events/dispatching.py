"""What a request comes to, as Zocalo's dispatcher takes it: events for Mimas, and a run of recipes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from blocks.errors import PassingFault, PlazaError, RecipeError, UnknownDataCollection, UnknownJob
from blocks.identifiers import Dcid, parse_dcid, parse_job_id
from blocks.validation_faults import describe
from flows.events.event import ID_CHARACTERS, CollectionEvent
from flows.events.request import RunRequest
from flows.prefect_limits import LARGEST_DCID, ParametersRefused, check_parameters
from flows.recipe.language.merging import merge
from flows.recipe.language.names import name_fault, recipe_name
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.queue_sending import MERGED_RECIPE
from flows.recipe.readiness import KEYS, RunStatusWait, wait_asked_for
from flows.recipe.run_record.recipe_ids import GUID, clean, given_guid, recipe_id_of
from flows.recipe.source import file_of, keep_custom_recipe, merged_name, merged_source
from flows.run_marks import as_text, collection_tags, guid_tag
from tasks.ispyb_access.reading.asking import job_to_read
from tasks.step.ports import Launch

if TYPE_CHECKING:
    from tasks.ispyb_access.reading.parameters import JobParameters
    from tasks.step.resources import Resources

MIMAS: Final = "mimas"
EVENT: Final = "event"
_OF_DISPATCHER: Final = frozenset({"ispyb_dcid", EVENT, GUID, *KEYS})
"""Keys that Mimas is told in other ways than as parameters for recipes."""

_NO_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})

_Value = TypeVar("_Value")


class RequestRefused(PlazaError, ValueError):
    """A request that can't be run, today or later: the message says what was expected, what was seen, what to do."""


class UnknownRecipe(RequestRefused):
    """A request for a recipe that the site doesn't have."""


class RecipeNotDeployed(PassingFault):
    """A recipe whose file is there has no deployment yet."""


@dataclass(frozen=True)
class Dispatch:
    """What a request comes to.

    Parameters
    ----------
    events
        What Mimas is to be told.
    launch
        The run of the recipes that it names; None: it names none but Mimas.
    """

    events: tuple[CollectionEvent, ...] = ()
    launch: Launch | None = None


def check_request(request: RunRequest) -> None:
    """Check a request as far as that can be done without a database or a server.

    Raises
    ------
    RequestRefused
        It names nothing to run, an id is none, a custom recipe is none, or its parameters can't be handed over.
    """
    _checked(lambda: check_parameters(request.parameters), "its parameters")
    _require_guid(request)
    dcid, job = _dcid(request), _job(request)
    _checked(lambda: wait_asked_for(request.parameters), "its parameters")
    for name in request.recipes:
        _check_name(name)
    if request.custom_recipe:
        # Its queues aren't looked at: as with Zocalo it's the run that fails where nobody serves one
        _checked(lambda: fill_recipe(merge(request.custom_recipe), request.parameters), "its custom recipe")
    if not request.recipes and not request.custom_recipe and job is None:
        raise RequestRefused(
            "nothing to run: expected names in `recipes`, a `custom_recipe`, or a job (`ispyb_process`) whose recipe "
            f"is run; seen parameters {', '.join(map(repr, request.parameters)) or 'none'}"
        )
    if _tells_mimas(request):
        _event(request, dcid)


async def dispatch(request: RunRequest, key: str, resources: Resources) -> Dispatch:
    """Find out what a request comes to; nothing is started, but its custom recipe is kept.

    Parameters
    ----------
    key
        Tells this request from another that says the same; one that brings a `guid` is known by that instead.

    Raises
    ------
    RequestRefused
        See `check_request`; or its job is unknown, or its recipes can't be merged.
    UnknownRecipe
        It names one recipe, or its job does, and there's none.
    RecipeNotDeployed
        Its recipe's file is there, but isn't deployed yet.
    DatabaseUnavailable
        ISPyB, which knows the recipe of its job, can't be reached.
    PrefectUnavailable
        Prefect's API doesn't answer.
    """
    check_request(request)
    guid = given_guid(request.parameters)
    if guid is not None:
        key = f"guid-{clean(guid)}-{_digest(request)}"
    if not request.recipes and not request.custom_recipe:
        return Dispatch(launch=await _launch_of_job(request, key, resources))
    if not _tells_mimas(request):
        return Dispatch(launch=await _launch(request, request.recipes, _dcid(request), key, resources))
    event = _event(request, _dcid(request))
    others = tuple(name for name in request.recipes if name != MIMAS)
    if not others and not request.custom_recipe:
        return Dispatch((event,))
    return Dispatch((event,), await _launch(request, others, _dcid(request), key, resources))


async def _launch_of_job(request: RunRequest, key: str, resources: Resources) -> Launch:
    """Name the recipe by which a job in ISPyB is carried out."""
    job = await asyncio.to_thread(_read_job, request, resources)
    if not job.recipe:
        raise RequestRefused(
            f"processing job {job.process} has no recipe in ISPyB (ProcessingJob.recipe): give it one, or name the "
            "recipe in `recipes`"
        )
    _check_name(job.recipe)
    dcid = _dcid(request) or job.dcid
    return await _launch(request, (job.recipe,), dcid, key, resources)


def _read_job(request: RunRequest, resources: Resources) -> JobParameters:
    from tasks.ispyb_access.reading.reader import read_processing_job

    try:
        return read_processing_job(resources.ispyb, parse_job_id(job_to_read(request.parameters)))
    except UnknownJob as error:
        raise RequestRefused(str(error)) from error


async def _launch(
    request: RunRequest, recipes: tuple[str, ...], dcid: Dcid | None, key: str, resources: Resources
) -> Launch:
    """Return the launch of one recipe's deployment, or of the one that runs several as one."""
    launch = Launch(
        recipe=recipes[0] if recipes else MERGED_RECIPE,
        dcid=dcid,
        parameters=dict(request.parameters),
        key=key,
        name=_name(request, recipes, dcid),
        tags=_tags(request, dcid),
    )
    if len(recipes) == 1 and not request.custom_recipe:
        await _require_installed(recipes[0], resources)
        return launch
    custom = None
    if request.custom_recipe:
        custom = await asyncio.to_thread(keep_custom_recipe, request.custom_recipe)
    # Read here, too: what can't be merged is refused before there is a run
    await asyncio.to_thread(_checked, lambda: merged_source(recipes, custom).read(), "its recipes")
    named = {"recipes": list(recipes)} if recipes else {}
    kept = {} if custom is None else {"custom_recipe": custom}
    return replace(launch, recipe=MERGED_RECIPE, flow_parameters={**named, **kept})


async def _require_installed(recipe: str, resources: Resources) -> None:
    if recipe in await resources.launcher.installed([recipe]):
        return
    file = file_of(recipe)
    if await asyncio.to_thread(
        _is_there, file
    ):  # a site that comes up sends what waited before it has deployed everything
        raise RecipeNotDeployed(
            f"the recipe {recipe!r:.100} isn't deployed, but its file {file} is there: `plaza deploy`"
        )
    raise UnknownRecipe(
        f"the recipe {recipe!r:.100} is unknown: there is no file {file}; see the recipes' folder for those there are"
    )


def _check_name(recipe: str) -> None:
    if fault := name_fault(recipe):
        raise RequestRefused(f"no recipe can be called {recipe!r:.100}: {fault}")


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:
        if error.errno in _NO_NAME:  # some file systems take fewer bytes than others, or not all characters
            raise RequestRefused(f"there can be no recipe {recipe_name(file)!r:.100}: {error.strerror}") from error
        raise


def _event(request: RunRequest, dcid: Dcid | None) -> CollectionEvent:
    """Return what Mimas is to be told."""
    if dcid is None:
        raise RequestRefused("Mimas needs a data collection: expected its id as `ispyb_dcid` in `parameters`")
    parameters = request.parameters
    if parameters.get(EVENT) is None:
        raise RequestRefused(
            f"Mimas needs an event: expected `{EVENT}` in `parameters`, one of start, end, start-group, end-group "
            f"(`-s {EVENT}=end` of zocalo.go)"
        )
    wait = wait_asked_for(parameters)
    guid = None if given_guid(parameters) is None else recipe_id_of(parameters, "").text
    extras = {name: value for name, value in parameters.items() if name not in _OF_DISPATCHER}
    try:
        return CollectionEvent.now(parameters[EVENT], dcid, extras, guid=guid, **_waiting(wait))
    except ValidationError as error:
        raise RequestRefused(f"Mimas can't be told of this: {describe(error, most=3)}") from error


def _waiting(wait: RunStatusWait | None) -> dict[str, Any]:
    if wait is None:
        return {}
    # Not what is left until its expiration: the same message, taken once more, is the same event
    return {"wait_for_run_status": True, "run_status_timeout": wait.timeout_s, "error_queue": wait.error_queue}


def _tells_mimas(request: RunRequest) -> bool:
    """Tell whether Mimas itself is meant, and not a recipe file that a site has brought along from Zocalo."""
    return MIMAS in request.recipes and not _is_there(file_of(MIMAS))


def _require_guid(request: RunRequest) -> None:
    guid = request.parameters.get(GUID)
    if guid is not None and (isinstance(guid, bool) or not isinstance(guid, str | int)):
        raise RequestRefused(f"{GUID}: expected the run's recipe ID, text or a whole number, seen {guid!r:.100}")
    if guid is not None and len(str(guid)) > ID_CHARACTERS:
        raise RequestRefused(
            f"{GUID}: expected {ID_CHARACTERS} characters at most, seen {len(str(guid))}: {guid!s:.60}"
        )


def _dcid(request: RunRequest) -> Dcid | None:
    value = request.parameters.get("ispyb_dcid")
    if value is None or value == "":
        return None
    try:
        dcid = parse_dcid(value)
    except UnknownDataCollection as error:
        raise RequestRefused(f"ispyb_dcid: {error}") from error
    if dcid > LARGEST_DCID:
        raise RequestRefused(
            f"ispyb_dcid: {dcid} is no id of a data collection: expected a whole number from 1 to {LARGEST_DCID}"
        )
    return dcid


def _job(request: RunRequest) -> Any:
    value = job_to_read(request.parameters)
    if value is not None:
        try:
            parse_job_id(value)
        except UnknownJob as error:
            raise RequestRefused(f"ispyb_process: {error}") from error
    return value


def _name(request: RunRequest, recipes: tuple[str, ...], dcid: Dcid | None) -> str:
    named = merged_name(recipes, request.custom_recipe)
    job = job_to_read(request.parameters)
    of = [f"dcid {dcid}"] * (dcid is not None) + [f"job {job}"] * (job is not None)
    return " · ".join([named, *of])


def _tags(request: RunRequest, dcid: Dcid | None) -> list[str]:
    guid = given_guid(request.parameters)
    return [*collection_tags(dcid, None, None), *([guid_tag(guid)] if guid else [])]


def _digest(request: RunRequest) -> str:
    said = [list(request.recipes), request.custom_recipe or None, as_text(request.parameters)]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _checked(check: Callable[[], _Value], what: str) -> _Value:
    try:
        return check()
    except (RecipeError, ParametersRefused) as error:
        raise RequestRefused(f"{what}: {error}") from error
