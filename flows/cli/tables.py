"""Tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.display_text import one_line

NARROWEST = 120  # columns; also for what isn't a terminal
WIDEST = 100_000


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str | Text]], console: Console | None = None, *, is_cut: bool = False
) -> None:
    """Print rows under their titles.

    Parameters
    ----------
    is_cut
        The last column is cut where the terminal ends; else it is folded there, and whole in a pipe.
    """
    console = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles[:-1]:
        table.add_column(title, no_wrap=True)
    table.add_column(titles[-1], overflow="fold")
    for row in rows:
        *cells, last = (cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row)
        if is_cut:  # by the cell: a column that isn't to be wrapped takes its room from all others
            last.no_wrap, last.overflow = True, "ellipsis"
        table.add_row(*cells, last)
    if not console.is_terminal and not is_cut:
        console.width = WIDEST
    elif console.width < NARROWEST:  # ids and names have to be whole: the terminal breaks lines that are too long
        console.width = NARROWEST
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():  # rich makes all lines as long as the longest
        console.out(line.rstrip(), highlight=False)
