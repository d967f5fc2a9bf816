"""Mimas in a process of its own, as a worker starts it: `python -m tests.support.mimas_process FLOW_RUN [KILLED_AT]`.

KILLED_AT: how many launches and jobs it carries out before it's killed, as by `kill -9`. It waits for the line `go` on
its standard input before it starts, so that several start together.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow_async

from flows.launching import PrefectLauncher
from flows.mimas.flow import mimas
from flows.mimas.launches import jobs


def kill_after(done: int) -> None:
    """Have this process killed when so much is carried out."""
    count = 0

    def counted(function):
        async def call(*args):
            nonlocal count
            if count == done:
                os.kill(os.getpid(), signal.SIGKILL)
            result = await function(*args)
            count += 1
            return result

        return call

    PrefectLauncher.launch = counted(PrefectLauncher.launch)
    jobs._create = counted(jobs._create)


async def run(flow_run: UUID) -> None:
    """Run it as a flow run that is there."""
    async with get_client() as client:
        found = await client.read_flow_run(flow_run)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    await run_flow_async(mimas, flow_run=found, parameters=found.parameters, return_type="state")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        kill_after(int(sys.argv[2]))
    asyncio.run(run(UUID(sys.argv[1])))
