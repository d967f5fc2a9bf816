"""How what waits to be sent looks in a terminal."""

from __future__ import annotations

from pathlib import Path

import typer

from flows.cli.tables import print_table
from flows.display_text import escaped
from flows.events.drop_folder.file import InvalidDropFile, read_drop_file
from flows.events.drop_folder.folder import DropFolder
from flows.events.event import CollectionEvent

TITLES = ("at", "event", "dcid", "from", "file")


def print_events(folder: DropFolder, by_server: list[tuple[str, ...]]) -> None:
    """Print a line for each file, in the order of their names, and for each event that Prefect's server has refused."""
    waiting, refused = folder.files(), DropFolder(folder.refused).files()
    if not waiting and not refused and not by_server:
        typer.echo(f"No event and no request waits in {folder.path}.")
        return
    rows = [*map(_row, waiting), *(_refused_row(folder, path) for path in refused), *by_server]
    print_table(TITLES, [row for row in rows if row is not None])


def _row(path: Path) -> tuple[str, ...] | None:
    name = escaped(path.name)
    try:
        file = read_drop_file(path)
    except FileNotFoundError:  # it's just been sent
        return None
    except InvalidDropFile as error:
        return ("", "", "", "", f"{name}: {error}")
    at = file.at.isoformat(sep=" ", timespec="seconds")  # its own zone: not every time has a local one
    content = file.content
    if isinstance(content, CollectionEvent):
        return (at, content.event, str(content.dcid), escaped(content.sender), name)
    dcid = content.message.parameters.get("ispyb_dcid", "")
    return (at, escaped(f"run {content}"), escaped(str(dcid)), escaped(content.sender), name)


def _refused_row(folder: DropFolder, path: Path) -> tuple[str, ...] | None:
    row = _row(path)
    if row is None:
        return None
    *columns, name = row
    reason = escaped(folder.reason(path))
    return (*columns, f"refused: {path.name if reason else name}{f': {reason}' if reason else ', see worker.log'}")
