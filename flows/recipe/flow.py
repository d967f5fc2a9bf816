"""A recipe as a Prefect flow: a task run per node, what it reads, what it keeps, what it reports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from blocks.errors import PlazaError, RecipeError, RecipeRunBusy, UnknownRecipeRun
from blocks.settings import get_settings
from flows.recipe.drawing.run_page import RunPage
from flows.recipe.engine.node import Refusal
from flows.recipe.engine.run import RecipeRun
from flows.recipe.language.files import read_text
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.language.validation import validated_recipe
from flows.recipe.parameters import recipe_parameters
from flows.recipe.publishing import published
from flows.recipe.run_record.dead_letters import DeadLetter, DeadLetters
from flows.recipe.run_record.folder import RunFolder, run_folder
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.manifest import Logbook, digest_of, document_of, read_logbook, this_process
from flows.recipe.run_record.progress import NodeRecord
from flows.recipe.run_record.resumption import take_up
from flows.resources import SiteResources
from tasks.logs.run_log import run_log
from tasks.step.identity import StepIdentity
from tasks.step.resources import Resources

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

logger = logging.getLogger(__name__)

BUSY_PAUSE_S: Final = 0.5


def recipe_flow(name: str, path: Path) -> Flow[..., Any]:
    """Make the flow that runs a recipe file.

    Parameters
    ----------
    name
        The flow's name: the recipe's.
    path
        The recipe file; read at each run, so that a changed recipe needs no restart.
    """

    async def run_recipe(dcid: int | None = None, parameters: dict[str, Any] | None = None) -> State[Any]:
        """Run the recipe for a data collection.

        A run that is retried goes on with what had not completed, by the recipe and the parameters of its first try.

        Parameters
        ----------
        dcid
            The data collection. Its parameters are read from ISPyB unless `parameters` holds them already. Without
            it, `parameters` may name one (`ispyb_dcid`), or a processing job (`ispyb_process`).
        parameters
            What fills the recipe's placeholders, beside what ISPyB says.
        """
        return await _run(name, path, dcid, parameters or {})

    run_recipe.__name__ = name.replace("-", "_")
    return Flow(
        run_recipe,
        name=name,
        description=f"Recipe {path.name}",
        flow_run_name=lambda: _with_dcid(name, flow_run.parameters.get("dcid")),
        validate_parameters=True,
        persist_result=False,
    )


def _with_dcid(name: str, dcid: int | None) -> str:
    return name if dcid is None else f"{name} · dcid {dcid}"


async def _run(name: str, path: Path, dcid: int | None, parameters: Mapping[str, Any]) -> State[Any]:
    """Run the recipe, and again for as long as messages are re-injected meanwhile."""
    folder = run_folder(_recipe_run_id())
    folder.path.mkdir(parents=True, exist_ok=True)
    with run_log(folder.log, StepIdentity(folder.recipe_run, name, dcid), get_settings().log_level):
        while True:
            with await _open_journal(folder) as journal:
                try:
                    async with SiteResources() as resources:
                        state = await _run_once(name, path, dcid, parameters, folder, journal, resources)
                except PlazaError as error:  # the reason is all that an operator needs, so no traceback
                    logger.error("recipe %s can't run: %s", name, error)
                    failure: State[Any] = Failed(message=f"{type(error).__name__}: {error}")
                    _note_failure(folder, failure)
                    return failure
            if not folder.has_reinjected:  # nobody could have the run taken up anew while this process had it
                return state


async def _open_journal(folder: RunFolder) -> Journal:
    """Open the run's journal; waits while another process has the run, which was started twice then."""
    is_told = False
    while True:
        try:
            return Journal(folder.journal)
        except RecipeRunBusy as error:
            if not is_told:
                logger.warning("waiting for the end of it: %s", error)
            is_told = True
        await asyncio.sleep(BUSY_PAUSE_S)


async def _run_once(
    name: str,
    path: Path,
    dcid: int | None,
    parameters: Mapping[str, Any],
    folder: RunFolder,
    journal: Journal,
    resources: Resources,
) -> State[Any]:
    """Begin the run or go on with it, to its end."""
    letters = DeadLetters()
    state = take_up(folder, journal, letters)
    if state is None:
        logbook = await _begin(path, dcid, parameters, folder, resources)
        logger.info("recipe %s: recipe run %s", _with_dcid(name, logbook.dcid), folder.recipe_run)
    else:
        logbook = replace(read_logbook(folder), ended=None)
        logger.info("recipe run %s goes on: %d messages wait", folder.recipe_run, len(state.waiting))
    logbook.write(folder)
    run = RecipeRun(
        logbook.filled_recipe(),
        folder.recipe_run,
        resources,
        run_node=_as_task_run,
        journal=journal,
        give_up=_bury(letters, logbook, folder),
    )
    journal.record({"began": this_process()})
    async with published(name, run.records, RunPage(logbook, folder, run.recipe)):
        records = await run.run(state)
    outcome = _outcome(records, folder)
    ended = _end(outcome)
    journal.record({"ended": ended})
    replace(logbook, ended=ended).write(folder)
    return outcome


async def _begin(
    path: Path, dcid: int | None, parameters: Mapping[str, Any], folder: RunFolder, resources: Resources
) -> Logbook:
    """Read the recipe and what fills it."""
    text = read_text(path)
    recipe = validated_recipe(text, path)
    known = await recipe_parameters(dcid, parameters, folder.recipe_run, resources)
    filled = document_of(fill_recipe(recipe, known))
    if dcid is None:
        dcid = known.get("ispyb_dcid")  # of the job that the run was started for
    return Logbook(path.stem, str(path), digest_of(text), dcid, dict(parameters), known, filled)


def _outcome(records: Mapping[int, NodeRecord], folder: RunFolder) -> State[Any]:
    faults = [f"step {record.label}: {record.fault}" for record in records.values() if record.fault]
    if faults:
        return Failed(message="; ".join(faults) + f" (see `plaza dlq list --run {folder.recipe_run}`)")
    done = sum(record.received > 0 for record in records.values())
    return Completed(message=f"{done} step{'s' * (done != 1)} done")


def _note_failure(folder: RunFolder, failure: State[Any]) -> None:
    """Have the logbook say why the run failed; before the recipe was filled there is none."""
    with suppress(UnknownRecipeRun):
        replace(read_logbook(folder), ended=_end(failure)).write(folder)


def _end(outcome: State[Any]) -> dict[str, Any]:
    return {"at": time.time(), "state": outcome.name, "message": outcome.message}


def _recipe_run_id() -> str:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RecipeError("a recipe's flow runs under Prefect only; for a single step there is `plaza step run`")
    return str(context.flow_run.id)


def _bury(letters: DeadLetters, logbook: Logbook, folder: RunFolder) -> Callable[[Refusal], None]:
    """Return what keeps the refused messages of a run."""

    def bury(refusal: Refusal) -> None:
        letter = DeadLetter(
            recipe_run=folder.recipe_run,
            number=refusal.message.number,
            recipe=logbook.recipe,
            dcid=logbook.dcid,
            node=refusal.node,
            step=refusal.step.name,
            queue=refusal.step.queue,
            payload=refusal.message.payload,
            environment=refusal.message.environment,
            error=refusal.error,
            traceback=refusal.traceback,
            history=tuple(refusal.history),
            at=time.time(),
        )
        try:
            letters.put(letter)
        except OSError as error:
            logger.error("the dead letter %s can't be kept (%s); %s has it", letter.name, error, folder.journal)

    return bury


async def _as_task_run(record: NodeRecord, work: Callable[[], Awaitable[None]]) -> None:
    """Do a node's work as a Prefect task run of its name."""

    async def node() -> State[Any]:
        await work()
        if record.fault:
            return Failed(message=record.fault)
        return Completed(message=f"{record.received} messages in, {sum(record.sent.values())} out")

    # without arguments: Prefect would try to hash channels
    task: Task[..., Any] = Task(
        node, name=record.label, task_run_name=record.label, cache_policy=NO_CACHE, persist_result=False
    )
    await task(return_state=True)
