"""What `plaza simulate` prints: for people, or one JSON record a data collection."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from blocks.identifiers import Dcid
from flows.display_text import one_line
from tasks.simulation.collection import CollectionRecord
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionPlan


class Output:
    """Told what happens; says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def on_rendering(self, plan: CollectionPlan) -> None:
        """Images of a plan are about to be rendered."""

    def on_begin(self, sweep: ImageSet, dcid: Dcid, folder: Path) -> None:
        """A data collection has its rows."""

    def on_image(self, number: int, at: float) -> None:
        """An image is there, numbered from 1."""

    def on_end(self, record: CollectionRecord) -> None:
        """A data collection has ended."""


class JsonLines(Output):
    """One JSON record a data collection, and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def on_end(self, record: CollectionRecord) -> None:
        """Print the record."""
        self._stream.write(record.model_dump_json() + "\n")
        self._stream.flush()


class Terminal(Output):
    """A bar while images come, and a few lines that stay."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console or Console(),
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_rendering(self, plan: CollectionPlan) -> None:
        """Start a bar."""
        self._start_bar("rendering", plan.images)

    def on_begin(self, sweep: ImageSet, dcid: Dcid, folder: Path) -> None:
        """Say what is collected and start a bar."""
        grid = f" of {sweep.grid.steps_x}×{sweep.grid.steps_y}" if sweep.grid else ""
        what = f"{grid}, {sweep.images} images, {sweep.detector_model}: dcid {dcid}"
        self._print(Text.assemble((sweep.kind.value, "bold"), one_line(what)))
        self._print(f"  {folder}/{sweep.template}")
        self._start_bar(f"collecting {dcid}", sweep.images)

    def on_image(self, number: int, at: float) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=number)

    def on_end(self, record: CollectionRecord) -> None:
        """Say how it went."""
        self._print(f"  {record.run_status}; {record.rate_hz:.1f} images/s")
        if record.truth is not None and record.truth.centre_boxes is not None:
            x, y = record.truth.centre_boxes
            self._print(f"  the crystal is at box ({x:.2f}, {y:.2f}), most of it in image {record.truth.best_image}")
        self._print(f"dcid {record.dcid}")

    def _start_bar(self, description: str, total: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=total)

    def _print(self, text: str | Text) -> None:
        shown = Text(one_line(text)) if isinstance(text, str) else text  # no markup: names may have brackets
        self._progress.console.print(shown, soft_wrap=True, highlight=False)
