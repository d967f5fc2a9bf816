"""Run a job of the simulated beamline in a process of its own."""

import os
from collections.abc import Callable
from typing import Any

from blocks.errors import PlazaError
from tasks.processes.child import ChildProcess, how_it_ended
from tasks.simulation.child import Line, SimulationJob

NAME = "tasks.simulation.child"


class BeamlineFault(PlazaError):
    """The simulated beamline couldn't make, read or write its images."""


async def run_job(job: SimulationJob, on_image: Callable[[int, float], None] | None = None) -> Any:
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
    child = await ChildProcess.start(("-m", NAME), NAME, environment)
    try:
        await child.send(job.model_dump_json().encode())
        result = await _listen(child, on_image)
        code = await child.wait()
        if result is None or code:
            raise BeamlineFault(_explain(job, result, code, child.last_words()))
        return result.result
    finally:
        await child.kill()


async def _listen(child: ChildProcess, on_image: Callable[[int, float], None] | None) -> Line | None:
    """Pass on a job's reports and return its last line; None if it said neither result nor error."""
    async for text in child.lines():
        line = Line.model_validate_json(text)
        if line.image is None:
            return line
        if on_image is not None:
            on_image(line.image, line.at or 0.0)
    return None


def _explain(job: SimulationJob, line: Line | None, code: int, said: str) -> str:
    if line is not None and line.error:
        return line.error
    return (
        f"the simulated beamline's process for {job.job!r} failed: {how_it_ended(code)}; it said: {said or 'nothing'}"
    )
