"""A recipe file as a Prefect flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State  # without it Prefect couldn't read the flow's types
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.runtime import flow_run

from blocks.errors import RecipeError
from blocks.identifiers import Dcid
from flows.prefect_limits import DcidOrDigits, ExtraParameters
from flows.recipe.run import RunArguments, carry_out, with_dcid
from flows.recipe.run_record.ending import CANCELLED, SUSPENDED, note_end
from flows.recipe.run_record.folder import RunFolder, run_folder
from flows.recipe.source import RecipeSource
from flows.run_marks import parent_of


def recipe_flow(name: str, path: Path) -> Flow[..., Any]:
    """Make the flow that runs a recipe file.

    Parameters
    ----------
    name
        The flow's name: the recipe's.
    path
        The recipe file; read at each run, so that a changed recipe needs no restart.
    """

    # async: a sync flow stays for a second after its body, until the thread of its heartbeats ends (Prefect's
    # `flow_engine._send_heartbeats`)
    async def run_recipe(
        dcid: DcidOrDigits | None = None, parameters: ExtraParameters | None = None, read_by: UUID | None = None
    ) -> State[Any]:
        """Run the recipe for a data collection.

        A run that is retried goes on with what had not completed, by the recipe and the parameters of its first try.

        Parameters
        ----------
        dcid
            The data collection. Its parameters are read from ISPyB unless `parameters` holds them already. Without
            it, `parameters` may name one (`ispyb_dcid`), or a processing job (`ispyb_process`).
        parameters
            What fills the recipe's placeholders, beside what ISPyB says.
        read_by
            The run of Mimas that has read the data collection: what it read is used.
        """
        return await carry_out_here(RecipeSource(((name, path),)), dcid, parameters, read_by)

    run_recipe.__name__ = name.replace("-", "_")
    return Flow(
        run_recipe,
        name=name,
        description=f"Recipe {path.name}",
        flow_run_name=lambda: with_dcid(name, flow_run.parameters.get("dcid")),
        validate_parameters=True,
        persist_result=False,  # a run's result is in its journal and in ISPyB
        on_cancellation=[note_cancellation],
    )


async def carry_out_here(
    source: RecipeSource, dcid: Dcid | None, parameters: Mapping[str, Any] | None, read_by: UUID | None
) -> State[Any]:
    """Carry a recipe out as the flow run in which this is called."""
    run = _this_run()
    begun_at = None if run.start_time is None else run.start_time.timestamp()
    arguments = RunArguments(dcid, parameters or {}, read_by, parent_of(run.tags), begun_at)
    folder = run_folder(str(run.id))
    with _suspended_as_asked(folder):
        return await carry_out(source, arguments, folder)


@contextmanager
def _suspended_as_asked(folder: RunFolder) -> Iterator[None]:
    """Have Prefect's engine hear that the run's steps were stopped by its suspension: their group is a crash to it."""
    try:
        yield
    except BaseExceptionGroup as stops:
        pause: BaseException | None = stops.subgroup(Pause)
        if pause is None:
            raise
        note_end(folder, *SUSPENDED)
        while isinstance(pause, BaseExceptionGroup):
            pause = pause.exceptions[0]
        raise pause from None


def note_cancellation(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Have the record of a run say that it was cancelled: the worker's hook, when the run's process is gone."""
    note_end(run_folder(str(flow_run.id)), *CANCELLED)


def _this_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RecipeError("a recipe's flow runs under Prefect only; for a single step there is `plaza step run`")
    return context.flow_run
