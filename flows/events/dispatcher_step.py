"""The step of the queue `processing_recipe`: a recipe that sends there starts runs, as Zocalo's dispatcher does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from blocks.errors import MessageRefused
from blocks.identifiers import parse_job_id
from blocks.validation_faults import describe
from flows.events.dispatching import MIMAS, Dispatch, RequestRefused, UnknownRecipe, dispatch
from flows.events.event import CollectionEvent
from flows.events.request import RunRequest
from flows.recipe.run_record.children import Child, note_children
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.recipe_ids import RecipeId, recipe_id_of
from flows.run_marks import LAUNCH_KEY, job_key, parent_tag
from tasks.ispyb_access.reading.asking import job_to_read
from tasks.step import Message, Note, Send, StepContext, StepParameters, message_step
from tasks.step.contract import BY_HAND
from tasks.step.identity import current_identity
from tasks.step.ports import FailedLaunch, Launch, LaunchedRecipe
from tasks.step.retries import Retries

_RETRIES: Final = Retries(tries=60)  # within an hour: ISPyB or Prefect's API is away, and who sent the message is gone


class DispatcherParameters(StepParameters):
    """None: what is to run stands in the messages, as at Zocalo's dispatcher."""


@message_step(queue="processing_recipe", parameters=DispatcherParameters, retries=_RETRIES)
async def start_recipes(parameters: DispatcherParameters, message: Message, context: StepContext) -> Sequence[Send]:
    """Start what a message names: `recipes`, a `custom_recipe`, a job's recipe, or Mimas; with its `parameters`.

    A message that comes again starts nothing twice. A recipe that Mimas's step asks for needn't be installed.
    """
    request = _request(message.payload)
    key = _key(message, context)
    try:
        found = await dispatch(request, key, context.resources)
    except UnknownRecipe as error:
        if LAUNCH_KEY not in message.environment:
            raise MessageRefused(str(error)) from error
        # Mimas's rules are for all sites, and not every site has all their recipes
        context.logger.warning("not installed here: %s", error)
        context.note(*(Note(f"not installed here: {name}") for name in request.recipes))
        return ()
    except RequestRefused as error:
        raise MessageRefused(str(error)) from error
    launches = [_for_parent(launch, context) for launch in _launches(found, request, key)]
    outcomes = await context.resources.launcher.launch(launches)
    started = [
        _Started(launch, outcome, recipe_id_of(request.parameters, str(outcome.flow_run_id)))
        for launch, outcome in zip(launches, outcomes, strict=True)
        if isinstance(outcome, LaunchedRecipe)
    ]
    await _tell(started, message, context)
    failed = [outcome for outcome in outcomes if isinstance(outcome, FailedLaunch)]
    if failed:
        reasons = "; ".join(f"{launch.recipe}: {launch.reason}" for launch in failed)
        raise MessageRefused(f"could not be started: {reasons}")
    return ()


@dataclass(frozen=True)
class _Started:
    launch: Launch
    outcome: LaunchedRecipe
    recipe_id: RecipeId

    def __str__(self) -> str:
        return self.launch.name or self.launch.recipe


def launch_of_event(event: CollectionEvent, key: str) -> Launch:
    """Return the launch of Mimas for an event."""
    return Launch(
        recipe=MIMAS,
        dcid=event.dcid,
        parameters=event.parameters,
        key=f"{key}-{event.key}",
        name=f"mimas {event.event} · dcid {event.dcid}",
        tags=event.tags,
        deployment=event.event,
        flow_parameters=event.flow_parameters,
    )


def _request(payload: Any) -> RunRequest:
    if not isinstance(payload, dict):
        raise MessageRefused(
            f"expected an object of `recipes`, `custom_recipe` and `parameters` as payload, seen {payload!r:.100}"
        )
    try:
        return RunRequest.model_validate(payload)
    except ValidationError as error:
        raise MessageRefused(f"no request for recipes: {describe(error, most=3)}") from error


def _key(message: Message, context: StepContext) -> str:
    """Return what tells the launch from others, so that it's launched once."""
    if context.recipe_run == BY_HAND:
        return uuid4().hex
    named = message.environment.get(LAUNCH_KEY)
    return named if isinstance(named, str) and named else context.key(message)


def _launches(found: Dispatch, request: RunRequest, key: str) -> list[Launch]:
    launches = [launch_of_event(event, key) for event in found.events]
    if found.launch is None:
        return launches
    launch, job = found.launch, job_to_read(request.parameters)
    if job is not None and not request.recipes and not request.custom_recipe and launch.key == key:
        # A job's own recipe runs once for it, whichever message, and whichever run of Mimas, asks for it
        launch = replace(launch, key=job_key(launch.dcid, parse_job_id(job)))
    return [*launches, launch]


def _for_parent(launch: Launch, context: StepContext) -> Launch:
    if context.recipe_run == BY_HAND:
        return launch
    return replace(launch, tags=[*launch.tags, parent_tag(context.recipe_run)])


async def _tell(started: Sequence[_Started], message: Message, context: StepContext) -> None:
    """Log and keep which runs this one has started."""
    parent = message.environment.get("ID", context.recipe_run)
    for one in started:
        earlier = " (an earlier one)" if one.outcome.earlier else ""
        context.logger.info(
            "recipe ID %s has started %s: recipe ID %s, flow run %s%s",
            *(parent, one, one.recipe_id.text, one.outcome.flow_run_id, earlier),
            extra={"parent_recipe_ID": parent, "child_recipe_ID": one.recipe_id.text},
        )
    if started and context.recipe_run != BY_HAND:
        folder = run_folder(context.recipe_run, context.resources.settings.home)
        identity = current_identity()
        node = None if identity is None else identity.node
        children = [Child(str(one.outcome.flow_run_id), str(one), one.recipe_id.text, node) for one in started]
        await asyncio.to_thread(note_children, folder, children)
