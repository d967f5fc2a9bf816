"""Run a job of the simulated beamline in a process of its own."""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from blocks.errors import PlazaError
from tasks.simulation.child import Job, Line

# A result is one line; that of a folder of many sweeps may be long.
LONGEST_LINE = 64 * 1024 * 1024
LAST_WORDS = 2000


class BeamlineFault(PlazaError):
    """The simulated beamline couldn't make, read or write its images."""


async def run_job(job: Job, on_image: Callable[[int, float], None] | None = None) -> Any:
    """Run a job to its end and return its result; ends the process if cancelled.

    Parameters
    ----------
    job
        What to do.
    on_image
        Told each image's number from 1 and the time (s since the epoch) at which it was there.

    Raises
    ------
    BeamlineFault
        The job failed, with what it said; or its process died.
    """
    # With HDF5_PLUGIN_PATH set and hdf5plugin imported, HDF5 can't make bitshuffle datasets.
    environment = {key: value for key, value in os.environ.items() if key != "HDF5_PLUGIN_PATH"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tasks.simulation.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        limit=LONGEST_LINE,
    )
    try:
        complaints = asyncio.create_task(_keep_last_words(process.stderr))
        result = await _listen(process, job, on_image)
        code = await process.wait()
        if result is None or code:
            raise BeamlineFault(_explain(job, result, code, await complaints))
        return result.result
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _listen(
    process: asyncio.subprocess.Process, job: Job, on_image: Callable[[int, float], None] | None
) -> Line | None:
    """Hand over the job, pass on its reports and return its last line; None if it said neither result nor error."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(job.model_dump_json().encode())
    process.stdin.close()
    async for text in process.stdout:
        line = Line.model_validate_json(text)
        if line.image is None:
            return line
        if on_image is not None:
            on_image(line.image, line.at or 0.0)
    return None


async def _keep_last_words(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    words = b""
    while chunk := await stream.read(65536):
        words = (words + chunk)[-LAST_WORDS:]
    return words.decode(errors="replace").strip()


def _explain(job: Job, line: Line | None, code: int, complaints: str) -> str:
    if line is not None and line.error:
        return line.error
    ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"the simulated beamline's process for {job.job!r} {ended}; it said: {complaints or 'nothing'}"
