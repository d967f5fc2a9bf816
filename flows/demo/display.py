"""The demo's progress in the terminal, redrawn while runs go on; a line for every change where it isn't one."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.display_text import one_line
from flows.monitoring.following import WatchedRun

STATE_STYLES = {"Completed": "green", "Failed": "bold red", "Crashed": "bold red", "Running": "cyan"}


class Display:
    """Shows images as they're taken and runs as they get on. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._taken = Text()
        self._runs: tuple[WatchedRun, ...] = ()
        self._states_shown: dict[object, str] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def print_line(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(Text(one_line(text)))  # no markup: names of folders may have brackets

    def images_taken(self, taken: int, expected: int, what: str) -> None:
        """Show how many images a data collection has by now."""
        self._taken = Text(f"beamline: {what}, image {taken} of {expected}", style="bold")
        self._draw()

    def runs(self, runs: tuple[WatchedRun, ...]) -> None:
        """Show where the flow runs are."""
        self._runs = runs
        if self._live is None:  # a pipe: a line for each change of state
            for run in runs:
                if self._states_shown.get(run.id) != run.state:
                    self._states_shown[run.id] = run.state
                    self.print_line(f"  {run.state.lower():10} {run.name}")
        self._draw()

    def _draw(self) -> None:
        if self._live:
            self._live.update(Group(self._taken, self._table()))

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for run in self._runs:
            table.add_row(run.name, Text(run.state, style=STATE_STYLES.get(run.state, "")), *_how_far(run))
        return table


def _how_far(run: WatchedRun) -> tuple[RenderableType, RenderableType]:
    bar = "" if run.percent is None else ProgressBar(total=100, completed=run.percent, width=24)
    return bar, f"{run.ran_s:.1f} s" if run.ran_s else ""
