"""How data collections, and what recipes know of them, look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from flows.cli.tables import print_table
from flows.display_text import one_line

if TYPE_CHECKING:
    from tasks.ispyb_access.overviews.collections import CollectionSummary

INDENT = "  "
TITLES: tuple[str, ...] = ("dcid", "started", "class", "type", "images", "run status", "path")


def print_collections(collections: Iterable[CollectionSummary], console: Console | None = None) -> None:
    """Print a line for each data collection."""
    print_table(TITLES, map(_row, collections), console)


def _row(collection: CollectionSummary) -> Sequence[str]:
    values = (
        collection.dcid,
        (collection.start_time or "").replace("T", " "),
        ", ".join(collection.classes),
        collection.experiment_type,
        collection.images,
        collection.run_status,
        collection.path,
    )
    return ["-" if value in (None, "") else str(value) for value in values]


def print_parameters(parameters: Mapping[str, Any], console: Console | None = None) -> None:
    """Print parameters as a tree, without the columns that ISPyB leaves open."""
    for name, value in parameters.items():
        for line in _lines(name, value):
            _print(line, console)


def _lines(name: str, value: Any, depth: int = 0) -> Iterator[Text]:
    start = Text(INDENT * depth).append(one_line(name), "cyan" if depth else "bold cyan")
    if isinstance(value, Mapping) and value:
        yield start
        for key, below in value.items():
            if below is not None:
                yield from _lines(str(key), below, depth + 1)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        yield start
        for number, item in enumerate(value, 1):
            yield from _lines(str(number), item, depth + 1)
    else:
        yield start.append("  ").append(_shown(value), "dim" if value in (None, "", False) else "default")


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value) or "none"
    if isinstance(value, Mapping) or value is None:
        return "none"
    if value == "":  # which isn't the same to a recipe
        return '""'
    return one_line(str(value))


def _print(text: Text, console: Console | None) -> None:
    (console or Console(highlight=False)).print(text, soft_wrap=True)
