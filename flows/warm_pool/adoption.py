"""Adopt the runs that a worker finds when it starts, and report those that nobody carries out any more.

A worker may be killed or started anew while its runs go on (see `flows.warm_pool.run_processes`), or die with them.
Either way Prefect calls them running until somebody says otherwise. This asks the API which runs of the work pool are
under way, and the kernel which have a process; `flows.warm_pool.run_fate` decides what is done about each.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.logging.loggers import flow_run_logger
from prefect.states import Scheduled

from flows.recipe.run_record.ending import SUSPENDED, note_end
from flows.recipe.run_record.folder import run_folder
from flows.warm_pool.pool_runs import read_pool_runs
from flows.warm_pool.run_fate import Fate, fate_of
from flows.warm_pool.run_processes import FoundProcess, RunProcesses, end_group, find_run_processes
from tasks.processes.ties import wait_until_gone

if TYPE_CHECKING:
    import psutil
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from flows.warm_pool._prefect_private import RunSupervision

logger = logging.getLogger(__name__)

LOOK_S: Final = 30.0
LOOK_AGAIN_S: Final = 2.0  # while something is about to be settled
STOPPING_S: Final = 10.0
CANCELLING_S: Final = 60.0
"""How long ending a run that is cancelled may take: Prefect gives it 30 s before it kills."""

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
_POLL_S = 0.5
_AT_ONCE = 8  # reports, each of which takes the server some 50 ms
_WORKER_LABEL = "prefect.worker.name"

GONE_AT_START: Final = (
    "its process was gone when the worker started: the machine, the site or the worker had been stopped or killed"
)
GONE: Final = (
    "its process is gone without having reported how the run ended: it was killed, or the API was out of reach"
)
CANCELLED_WITHOUT_PROCESS: Final = "Cancelled as asked for; it had no process that was to be ended"
SITE_STOPPED: Final = "Its process was ended, since the site was stopped"


class Adoption:
    """Care for the runs of a work pool that this worker hasn't started.

    Parameters
    ----------
    home
        The site's home folder, which its processes are found by.
    pool, worker
        The names of the work pool and of the worker: what a worker of another name has taken is left to that.
    has_taken
        Tells whether this worker has taken a run and isn't done with it.
    """

    def __init__(
        self,
        supervision: RunSupervision,
        home: Path,
        pool: str,
        worker: str,
        has_taken: Callable[[UUID], bool],
    ) -> None:
        self._supervision, self._home, self._pool, self._worker = supervision, home, pool, worker
        self._has_taken = has_taken
        self._adopted: dict[UUID, tuple[psutil.Process, asyncio.Task[None]]] = {}
        self._is_wanted = asyncio.Event()
        self._has_looked = False
        self._ends_runs = False

    @property
    def adopted(self) -> set[UUID]:
        """The runs of earlier workers whose processes are at work."""
        return {*self._adopted}

    @property
    def adopted_count(self) -> int:
        """How many processes of earlier workers' runs are at work."""
        return len(self._adopted)

    async def look_soon(self) -> None:
        """Have the next look taken at once."""
        self._is_wanted.set()

    async def keep_looking(self) -> None:
        """Look at the runs at once, and now and then, until cancelled; faults are logged and outlived."""
        while True:
            self._is_wanted.clear()
            is_settled = False
            try:
                is_settled = await self.look()
            except Exception as error:  # whatever the API comes up with while it starts or is away
                logger.warning("can't look for runs without a worker (%s): trying again", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if is_settled else LOOK_AGAIN_S):
                    await self._is_wanted.wait()

    async def look(self) -> bool:
        """Look at all runs that are under way and do what is to be done; returns whether nothing waits to be seen."""
        wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)))
        under_way = await read_pool_runs(self._client, self._pool, wanted)
        runs = [run for run in under_way if self._may_judge(run)]
        if not runs:
            self._has_looked = True
            return True
        # After the API was asked: what has been forked since then isn't among the runs
        processes = await asyncio.to_thread(find_run_processes, self._home)
        fates = {run.id: self._fate(run, processes) for run in runs}
        limit = asyncio.Semaphore(_AT_ONCE)

        async def act(run: FlowRun) -> bool:
            async with limit:
                try:
                    await self._act(run, fates[run.id], processes.runs)
                except Exception:  # the API's, for this run: the others are none the worse for it
                    logger.exception("can't settle the run %s: trying again", run.name)
                    return False
            return True

        are_settled = await asyncio.gather(*(act(run) for run in runs if fates[run.id] is not Fate.LEFT))
        self._has_looked |= processes.is_complete
        is_any_pending = any(run.state and run.state.is_pending() for run in runs)
        return processes.is_complete and all(are_settled) and not is_any_pending

    async def end_runs(self, grace: float) -> None:
        """End the adopted runs (SIGTERM, after `grace` seconds SIGKILL), and report them."""
        self._ends_runs = True
        adopted = [*self._adopted.values()]
        for process, _ in adopted:
            end_group(process, signal.SIGTERM)
        if adopted:
            await asyncio.wait([task for _, task in adopted], timeout=grace)
        for process, _ in adopted:
            end_group(process, signal.SIGKILL)
        if adopted:
            await asyncio.wait([task for _, task in adopted], timeout=grace)

    def leave_runs(self) -> None:
        """Watch the adopted runs no more."""
        for _, task in self._adopted.values():
            task.cancel()

    @property
    def _client(self) -> PrefectClient:
        return self._supervision.client

    def _may_judge(self, run: FlowRun) -> bool:
        """Tell whether a run may be this worker's business; before it's forked, it bears its worker's name."""
        is_settled = self._is_watched(run.id) and not (run.state and run.state.is_paused())
        return not is_settled and run.labels.get(_WORKER_LABEL, self._worker) == self._worker

    def _is_watched(self, flow_run_id: UUID) -> bool:
        return self._has_taken(flow_run_id) or flow_run_id in self._adopted

    def _fate(self, run: FlowRun, processes: RunProcesses) -> Fate:
        assert run.state is not None
        fate = fate_of(
            run.state,
            has_process=run.id in processes.runs,
            is_watched=self._is_watched(run.id),
            age_s=(datetime.now(UTC) - run.state.timestamp).total_seconds(),
        )
        needs_all = fate in {Fate.CRASHED, Fate.CANCELLED, Fate.TAKEN_AGAIN}
        return Fate.LEFT if needs_all and not processes.is_complete else fate

    async def _act(self, run: FlowRun, fate: Fate, processes: Mapping[UUID, psutil.Process]) -> None:
        if fate is Fate.ADOPTED:
            self._adopt(run, processes[run.id])
        elif fate is Fate.STOPPED:
            await self._stop(run, processes[run.id])
        else:
            await self._settle(run, fate, GONE if self._has_looked else GONE_AT_START)

    def _adopt(self, run: FlowRun, process: psutil.Process) -> None:
        flow_run_logger(run).info("process %d goes on: its worker is gone, another one watches it", process.pid)
        self._adopted[run.id] = process, asyncio.create_task(self._watch(run, process))

    async def _watch(self, run: FlowRun, found: psutil.Process) -> None:
        """Watch an adopted run to its end."""
        try:
            with suppress(ProcessLookupError):  # gone by now
                process = FoundProcess(found)
                async with self._supervision.watching(run.id, process):
                    if run.state is not None and run.state.is_cancelling():
                        self._supervision.cancel(run.id)
                    await process.wait()
            await self._await_cancellation(run)
            if self._ends_runs:  # nobody looks any more
                await self._report_stopped(run)
        except Exception:  # the API's; without a process the run is dealt with at the next look
            logger.exception("lost sight of the run %s", run.name)
        finally:
            del self._adopted[run.id]
            self._is_wanted.set()

    async def _await_cancellation(self, run: FlowRun) -> None:
        """Wait while Prefect's supervision, which ended a run's process, runs its hooks and reports it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCELLING_S):
                while (state := (await self._client.read_flow_run(run.id)).state) and state.is_cancelling():
                    await asyncio.sleep(_POLL_S)

    async def _report_stopped(self, run: FlowRun) -> None:
        """Report a run whose process was ended with the site, unless it did so itself."""
        ended = await self._client.read_flow_run(run.id)
        if ended.state is not None and not ended.state.is_final():
            await self._supervision.report_crashed(ended, SITE_STOPPED)

    async def _stop(self, run: FlowRun, process: psutil.Process) -> None:
        """End the process of a suspended run, whoever watches it: Prefect's engine sees to it at its next task only.

        By SIGKILL: after SIGTERM it would report a crash. What it has done is in its journal.
        """
        flow_run_logger(run).info("process %d is ended: the run is suspended", process.pid)
        if self._has_taken(run.id):
            self._supervision.stopped.add(run.id)
        end_group(process, signal.SIGKILL)
        await asyncio.to_thread(wait_until_gone, [process], STOPPING_S)
        await asyncio.to_thread(note_end, run_folder(str(run.id)), *SUSPENDED)

    async def _settle(self, seen: FlowRun, fate: Fate, reason: str) -> None:
        """Report a run that nobody carries out, unless something has become of it since it was seen."""
        run = await self._client.read_flow_run(seen.id)
        if run.state is None or seen.state is None or run.state.id != seen.state.id or self._is_watched(run.id):
            return
        was, is_now = run.state.name, fate.name.lower().replace("_", " ")
        flow_run_logger(run).warning("the run, which was %s, has no process any more: it's %s", was, is_now)
        if fate is Fate.CANCELLED:
            await self._supervision.report_cancelled(run, CANCELLED_WITHOUT_PROCESS)
        elif fate is Fate.TAKEN_AGAIN:
            again: State[None] = Scheduled(message="taken again: its worker was gone before anything of it ran")
            await self._client.set_flow_run_state(run.id, again)
        else:
            await self._supervision.report_crashed(run, reason[0].upper() + reason[1:])
