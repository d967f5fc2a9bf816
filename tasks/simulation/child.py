"""The simulated beamline's own process: renders, reads and writes images, so that no other process holds HDF5 handles.

Reads a job, a JSON line, from standard input and writes one JSON line for each report, then one with the result or
the error. `tasks.simulation.jobs` is its other end.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from blocks.errors import PlazaError
from tasks.processes.parent import lines_to_parent
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan

Report = Callable[[int, float], None]


class Line(BaseModel):
    """What a job says: a report (an image's number, and the time at which it was there), its result or its error."""

    image: int | None = None
    at: float | None = None
    result: Any = None
    error: str | None = None


class Produce(BaseModel):
    """Render a plan's images into a store; the result is their sweep."""

    model_config = ConfigDict(frozen=True)
    job: Literal["produce"] = "produce"
    plan: CollectionPlan
    store: Path

    def run(self, report: Report) -> Any:
        """Do it."""
        from tasks.simulation.image_making.produce import produce

        return produce(self.plan, self.store, lambda number: report(number, 0.0)).model_dump(mode="json")


class Survey(BaseModel):
    """Find the sweeps of a folder of images; the result is their list."""

    model_config = ConfigDict(frozen=True)
    job: Literal["survey"] = "survey"
    folder: Path
    grid: tuple[int, int] | None = None

    def run(self, report: Report) -> Any:
        """Do it."""
        from tasks.simulation.replay import survey

        return [sweep.model_dump(mode="json") for sweep in survey(self.folder, self.grid)]


class Place(BaseModel):
    """Let a sweep's images appear in a folder at a rate (Hz)."""

    model_config = ConfigDict(frozen=True)
    job: Literal["place"] = "place"
    sweep: ImageSet
    destination: Path
    rate_hz: float = Field(gt=0)

    def run(self, report: Report) -> Any:
        """Do it."""
        from tasks.simulation.placing import place

        for number, at in enumerate(place(self.sweep, self.destination, self.rate_hz), start=1):
            report(number, at)


SimulationJob = Produce | Survey | Place
SIMULATION_JOB: TypeAdapter[SimulationJob] = TypeAdapter(Annotated[SimulationJob, Field(discriminator="job")])


def main(send: Callable[[str], None]) -> int:
    """Do the job on standard input."""

    def say(line: Line) -> None:
        send(line.model_dump_json(exclude_none=True))

    try:
        job = SIMULATION_JOB.validate_json(sys.stdin.buffer.readline())
        say(Line(result=job.run(lambda image, at: say(Line(image=image, at=at)))))
    except BrokenPipeError:  # whoever wanted the images is gone
        return 1
    except PlazaError as error:
        say(Line(error=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    with lines_to_parent() as send:
        code = main(send)
    sys.exit(code)
