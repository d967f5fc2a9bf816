"""The resident warm worker.

    python -m flows.site.worker_service --preload MODULE…

It waits for the API and the site's work pool, then runs flow runs until SIGTERM. If the whole site goes down then, it
ends them and reports them; else they go on, and the next worker adopts them. Beside that it delivers the events that
were kept in the home while the API was away.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from blocks.retrying import Pauses, retry
from blocks.settings import get_settings
from flows.events.drop_folder.delivery import deliver_forever
from flows.events.drop_folder.folder import DropFolder
from flows.site.running_site import STOPPING_FILE, WORK_POOL

if TYPE_CHECKING:
    from flows.warm_pool.worker import WarmWorker

_API_TIMEOUT_S = 120.0  # as `plaza up` waits
_POLL_S = 0.1
_POLLS = Pauses(first_s=_POLL_S, longest_s=_POLL_S)


async def wait_for_api(timeout: float = _API_TIMEOUT_S) -> None:
    """Wait until Prefect's API answers.

    Raises
    ------
    TimeoutError
        It doesn't within `timeout` seconds.
    """
    from prefect.client.orchestration import get_client

    async with asyncio.timeout(timeout), get_client() as client:
        while await client.api_healthcheck() is not None:
            await asyncio.sleep(_POLL_S)


async def wait_for_work_pool(timeout: float = _API_TIMEOUT_S) -> None:
    """Wait until the site's work pool is there: `plaza deploy` makes it, with its queues.

    Raises
    ------
    TimeoutError
        The API doesn't answer within `timeout` seconds.
    ObjectNotFound, httpx.HTTPError
        The pool isn't there, or the API is away again, `timeout` seconds after that.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from flows.prefect_outages import is_outage

    def may_pass(error: Exception) -> bool:
        return isinstance(error, ObjectNotFound) or is_outage(error)

    await wait_for_api(timeout)
    async with get_client() as client:
        await retry(lambda: client.read_work_pool(WORK_POOL), may_pass, _POLLS, patience_s=timeout)


async def serve(modules: Sequence[str]) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    from flows.warm_pool.worker import WarmWorker

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # The pool is made by `plaza deploy`, with its queues: the worker would make one without
    worker = WarmWorker(
        work_pool_name=WORK_POOL, name=f"warm {platform.node()}", create_pool_if_not_found=False, modules=modules
    )
    delivering = asyncio.create_task(deliver_forever(DropFolder.of(get_settings().home)))
    working = asyncio.create_task(_work(worker))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    delivering.cancel()
    if not working.done():
        if (get_settings().home / STOPPING_FILE).exists():
            await worker.end_runs()  # before the worker is cancelled, while it watches them and reports how they end
        else:
            await worker.leave_runs()
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _work(worker: WarmWorker) -> None:
    """Warm up while the API starts, then take runs."""
    from flows.site.draining import open_after_drains
    from flows.warm_pool.scheduled_runs import ASKED_TO_STOP, SCHEDULED, watch_runs

    await asyncio.gather(worker.forker.start(), wait_for_work_pool())
    await open_after_drains(get_settings().home)  # `plaza up --no-wait` does it nowhere else
    look = worker.adoption.look_soon
    watching = asyncio.create_task(watch_runs({SCHEDULED: worker.turns.announce, **dict.fromkeys(ASKED_TO_STOP, look)}))
    taking = asyncio.create_task(worker.turns.keep_looking(worker.get_and_submit_flow_runs))
    try:
        await worker.start()
    finally:
        watching.cancel()
        taking.cancel()


def main(modules: Sequence[str]) -> None:
    """Serve; runs are announced, so asking for them is only for announcements that were lost."""
    # s. Asking every 0.2 s took 15 to 21 % of a core on the server, announcements and this take 5 %
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")
    # What the service itself says belongs to no run: it's in its log file, and Prefect needn't complain of that
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    # Its own requests and the runs', which inherit this: a server that is stopping, or short of connections to its
    # database, says 500. They are tried again for a minute, as those that it doesn't answer are
    os.environ.setdefault("PREFECT_CLIENT_RETRY_EXTRA_CODES", "500")
    asyncio.run(serve(modules))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the warm worker")
    parser.add_argument("--preload", nargs="*", default=[], metavar="MODULE")
    main(parser.parse_args().preload)
