"""Carry a recipe run out: a task run per node, what it reads, what it keeps, what it reports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from msgspec import structs
from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from blocks.errors import PlazaError, RecipeRunBusy, UnknownRecipeRun
from blocks.full_disks import when_there_is_room
from blocks.home_folder import make_folder
from blocks.identifiers import Dcid, parse_dcid
from blocks.retrying import Pauses, first_only, retry
from blocks.settings import get_settings
from flows.prefect_limits import run_name, state_message
from flows.recipe.drawing.run_page import RunPage
from flows.recipe.engine.node import RefusedMessage
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.outcome import final_state
from flows.recipe.parameters import recipe_parameters, warn_of_unused
from flows.recipe.publishing import published, tag_run
from flows.recipe.readiness import await_readiness, wait_asked_for
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.entries import Began, Ended
from flows.recipe.run_record.folder import RunFolder
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.manifest import Manifest, document_of, read_manifest
from flows.recipe.run_record.progress import NodeProgress
from flows.recipe.run_record.recipe_ids import GUID, RecipeId, note_recipe_id, recipe_id_of
from flows.recipe.run_record.resumption import take_up
from flows.recipe.source import RecipeSource
from flows.resources import SiteResources
from flows.run_marks import collection_tags, guid_tag
from tasks.logs.run_log import run_log
from tasks.step.identity import StepIdentity
from tasks.step.resources import Resources

logger = logging.getLogger(__name__)

BUSY_PAUSES: Final = Pauses(first_s=0.5, longest_s=0.5)  # a look at a lock, which costs nothing


@dataclass(frozen=True)
class RunArguments:
    """What a recipe run is started with: the parameters of its flow, the run whose step started it, and when it began.

    The latter is when its first process did, in seconds since the epoch.
    """

    dcid: Dcid | None
    parameters: Mapping[str, Any]
    read_by: UUID | None
    parent: str | None = None
    begun_at: float | None = None


def with_dcid(name: str, dcid: Dcid | None) -> str:
    """Return what a run is called: its recipe's name and its data collection."""
    return run_name(name if dcid is None else f"{name} · dcid {dcid}")


async def carry_out(source: RecipeSource, arguments: RunArguments, folder: RunFolder) -> State[Any]:
    """Run a recipe, and again for as long as messages are re-injected meanwhile.

    Parameters
    ----------
    source
        The recipe's name, and its files.
    arguments
        What a new run is started with.
    folder
        The run's record; one that is there already is gone on with.
    """
    await when_there_is_room(lambda: make_folder(folder.path))
    recipe_id = recipe_id_of(arguments.parameters, folder.recipe_run)
    identity = StepIdentity(folder.recipe_run, source.name, arguments.dcid, recipe_ID=recipe_id.text)
    with run_log(folder.log, identity, get_settings().log_level):
        await asyncio.to_thread(note_recipe_id, recipe_id, folder.recipe_run)
        while True:
            with await _open_journal(folder) as journal:
                try:
                    async with SiteResources() as resources:
                        state = await _run_once(source, arguments, folder, journal, recipe_id, resources)
                except PlazaError as error:  # the reason is all that an operator needs, so no traceback
                    logger.error("recipe %s can't run: %s", source.name, error)
                    failure: State[Any] = Failed(message=state_message(f"{type(error).__name__}: {error}"))
                    _note_failure(folder, failure)
                    return failure
            # After the journal is closed: nobody could have the run taken up anew while this process had it,
            # and what was re-injected meanwhile would wait for ever
            if not folder.has_reinjected:
                return state


async def _open_journal(folder: RunFolder) -> Journal:
    """Open the run's journal; waits while another process has the run, which was started twice then.

    It waits for as long as that takes, which may be hours: given up, the run would be called failed while it goes on.
    """

    def warn(fault: BaseException, _pause_s: float) -> None:
        logger.warning("waiting for the end of it: %s", fault)

    async def open_it() -> Journal:
        return await when_there_is_room(lambda: Journal(folder.journal))

    return await retry(open_it, RecipeRunBusy, BUSY_PAUSES, tell=first_only(warn))


async def _run_once(
    source: RecipeSource,
    arguments: RunArguments,
    folder: RunFolder,
    journal: Journal,
    recipe_id: RecipeId,
    resources: Resources,
) -> State[Any]:
    """Begin the run or go on with it, to its end."""
    dead_letters = DeadLetters()
    state = take_up(folder, journal, dead_letters)
    if state is None:
        try:
            if why_not := await _await_readiness(source, arguments, recipe_id, resources):
                return await _note_not_ready(journal, why_not)
            manifest = await _begin(source, arguments, recipe_id, resources)
        except PlazaError:  # no manifest will say what the run was for
            await tag_run(
                _tags(arguments.dcid or arguments.parameters.get("ispyb_dcid"), arguments.parameters, recipe_id)
            )
            raise
        logger.info("recipe %s: recipe run %s", with_dcid(source.name, manifest.dcid), folder.recipe_run)
    else:
        manifest = replace(read_manifest(folder), ended=None)
        logger.info("recipe run %s goes on: %d messages wait", folder.recipe_run, len(state.waiting))
    await when_there_is_room(lambda: manifest.write(folder))
    run = RecipeRun(
        manifest.filled_recipe(),
        folder.recipe_run,
        resources,
        run_node=_as_task_run,
        journal=journal,
        keep_dead_letter=_dead_letter_keeper(dead_letters, manifest, folder),
        recipe_id=recipe_id.text,
    )
    journal.record(Began.now())
    tags = _tags(manifest.dcid, manifest.parameters, recipe_id)
    async with published(source.name, run.progress, RunPage(manifest, folder, run.recipe), tags):
        progress = await run.run(state)
    state_at_end = final_state(progress, run.recipe, folder.recipe_run)
    ended = _end(state_at_end)
    journal.record(ended)
    await when_there_is_room(journal.write_out)  # what only this process knows would be lost with it
    await when_there_is_room(lambda: replace(manifest, ended=structs.asdict(ended)).write(folder))
    return state_at_end


async def _begin(source: RecipeSource, arguments: RunArguments, recipe_id: RecipeId, resources: Resources) -> Manifest:
    """Read the recipe and what fills it."""
    read = source.read()
    recipe = read.recipe
    if arguments.read_by is None:  # what comes from Mimas is meant for several recipes
        warn_of_unused(recipe, arguments.parameters)
    known = await recipe_parameters(arguments.dcid, arguments.parameters, recipe_id.name, resources, arguments.read_by)
    filled = document_of(fill_recipe(recipe, known))
    # Without one of its own, the run is for the collection of the job that it was started for
    dcid = known.get("ispyb_dcid") if arguments.dcid is None else arguments.dcid
    return Manifest(
        source.name,
        ", ".join(map(str, source.files)),
        read.digest,
        dcid,
        dict(arguments.parameters),
        known,
        filled,
        recipe_id=recipe_id.text,
        parent=arguments.parent,
    )


async def _await_readiness(
    source: RecipeSource, arguments: RunArguments, recipe_id: RecipeId, resources: Resources
) -> str:
    """Wait for the run status, if that was asked for; return why the run doesn't go on, empty if it does."""
    wait, dcid = wait_asked_for(arguments.parameters), arguments.dcid or arguments.parameters.get("ispyb_dcid")
    if wait is None or not dcid:
        return ""
    if wait.error_queue is not None and wait.expiration is None and arguments.begun_at is not None:
        # Since the first process of the run: taken up again, it says the same, which is sent once
        wait = replace(wait, expiration=arguments.begun_at + wait.timeout_s)
    of_dispatcher = {"ispyb_dcid": dcid, GUID: recipe_id.given or recipe_id.text}
    request = {**source.as_request(), "parameters": {**arguments.parameters, **of_dispatcher}}
    return await await_readiness(parse_dcid(dcid), wait, request, resources)


async def _note_not_ready(journal: Journal, why: str) -> State[Any]:
    """End a run whose message went to its error queue: nothing is left to do for it."""
    logger.warning("the recipe isn't run: %s", why)
    state: State[Any] = Completed(name="NotReady", message=state_message(why))
    journal.record(_end(state))
    await when_there_is_room(journal.write_out)
    return state


def _tags(dcid: object, known: Mapping[str, Any], recipe_id: RecipeId) -> list[str]:
    called = [] if recipe_id.given is None else [guid_tag(recipe_id.given)]
    return [*collection_tags(dcid, known.get("ispyb_beamline"), known.get("ispyb_visit")), *called]


def _note_failure(folder: RunFolder, failure: State[Any]) -> None:
    """Have the manifest say why the run failed; before the recipe was filled there is none."""
    with suppress(UnknownRecipeRun):
        replace(read_manifest(folder), ended=structs.asdict(_end(failure))).write(folder)


def _end(state: State[Any]) -> Ended:
    return Ended(time.time(), state.name, state.message)


def _dead_letter_keeper(
    dead_letters: DeadLetters, manifest: Manifest, folder: RunFolder
) -> Callable[[RefusedMessage], None]:
    """Return what keeps the refused messages of a run."""

    def keep_dead_letter(refused: RefusedMessage) -> None:
        dead_letter = DeadLetter(
            recipe_run=folder.recipe_run,
            number=refused.message.number,
            recipe=manifest.recipe,
            dcid=manifest.dcid,
            node=refused.node,
            step=refused.step.name,
            queue=refused.step.queue,
            payload=refused.message.payload,
            environment=refused.message.environment,
            error=refused.error,
            traceback=refused.traceback,
            history=list(refused.history),
            at=time.time(),
            others=refused.others,
        )
        try:
            if refused.others:  # it's kept already
                dead_letters.note_others(dead_letter.name, refused.others)
            else:
                dead_letters.put(dead_letter)
        except OSError as error:
            logger.error("the dead letter %s can't be kept (%s); %s has it", dead_letter.name, error, folder.journal)

    return keep_dead_letter


async def _as_task_run(progress: NodeProgress, work: Callable[[], Awaitable[None]]) -> None:
    """Do a node's work as a Prefect task run of its name."""

    async def node() -> State[Any]:
        await work()
        if progress.fault:
            return Failed(message=state_message(progress.fault))
        return Completed(message=f"{progress.received} messages in, {sum(progress.sent.values())} out")

    # without arguments: Prefect would try to hash channels
    label = run_name(progress.label)
    task: Task[..., Any] = Task(node, name=label, task_run_name=label, cache_policy=NO_CACHE, persist_result=False)
    await task(return_state=True)
