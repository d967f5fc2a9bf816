"""How events that wait look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from flows.cli.tables import print_table
from flows.display_text import escaped
from flows.events.drop_folder import DropFolder, NoEvent, read_event

TITLES = ("at", "event", "dcid", "from", "file")


def print_events(folder: DropFolder) -> None:
    """Print a line for each file, in the order of their names."""
    waiting, refused = folder.files(), DropFolder(folder.refused).files()
    if not waiting and not refused:
        typer.echo(f"No event waits in {folder.path}.")
        return
    rows = [*_rows(waiting, ""), *_rows(refused, "refused, see worker.log: ")]
    print_table(TITLES, rows)


def _rows(files: list[Path], word: str) -> Iterator[tuple[str, ...]]:
    for path in files:
        name = escaped(path.name)
        try:
            kept = read_event(path)
        except FileNotFoundError:  # it's just been sent
            continue
        except NoEvent as error:
            yield ("", "", "", "", f"{word}{name}: {error}")
        else:
            event = kept.event
            at = kept.at.isoformat(sep=" ", timespec="seconds")  # its own zone: not every time has a local one
            yield (at, event.event, str(event.dcid), event.sender, f"{word}{name}")
