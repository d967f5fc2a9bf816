"""A process that looks into visits' folders, and can be killed where their file system hangs.

It reads questions (a JSON list) from its standard input, writes the answers and ends. Python's own library is all
that it imports, so it's there within some 20 ms: Mimas waits for it at each event. What is in the files is read
elsewhere.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from tasks.confinement import write_confined
from tasks.regular_files import read_regular

LONGEST_YAML = 256 * 1024  # bytes: users write some lines, and anything larger is no such file
MOST_CANDIDATES = 10  # YAML files that are named as the images' folders: one of a name is usual
MOST_ENTRIES = 10_000  # of a folder; what is behind them isn't seen
SUFFIXES = (".yml", ".yaml")


class Question(TypedDict):
    """What to look for.

    Parameters
    ----------
    visit
        The visit's folder.
    read
        Look into its `processing`.
    names
        Names, in lower case, of the YAML files that say something of the crystal; none: it isn't wanted.
    groups
        The sample groups are wanted.
    write
        Files to be written unless they are there: name and content.
    also
        Folders outside of the visit to which links in it may lead.
    limit_s
        After so many seconds nobody waits any more.
    """

    visit: str
    read: bool
    names: list[str]
    groups: bool
    write: list[tuple[str, str]]
    also: list[str]
    limit_s: float


class YAMLText(TypedDict):
    """A YAML file: its bytes, as Latin-1, or why they can't be had."""

    file: str
    text: str | None
    fault: str


class Found(TypedDict):
    """What there is.

    Parameters
    ----------
    crystal
        Files that may say something of the crystal, in the order in which they count.
    groups
        The sample groups' file.
    models
        PDB files.
    geometry
        The reference geometry.
    unwritten
        Files that couldn't be written, and why.
    warnings
        What people should know.
    """

    crystal: list[YAMLText]
    groups: YAMLText | None
    models: list[str]
    geometry: str | None
    unwritten: dict[str, str]
    warnings: list[str]


def look(question: Question) -> Found:
    """Look into a visit's folder."""
    processing = Path(question["visit"], "processing")
    found = Found(crystal=[], groups=None, models=[], geometry=None, unwritten={}, warnings=[])
    if question["read"]:
        warnings = found["warnings"]
        if question["names"]:
            found["crystal"] = [_yaml_text(file) for file in _candidates(processing, question["names"], warnings)]
        groups, geometry = processing / "sample_groups.yml", processing / "reference_geometry.expt"
        if question["groups"] and _exists(groups, warnings):
            found["groups"] = _yaml_text(groups)
        found["geometry"] = str(geometry) if _exists(geometry, warnings) else None
        found["models"] = _models(processing / "pdb", warnings)
    for name, content in question["write"]:
        try:
            _write_once(Path(name), content.encode(), question)
        except (OSError, ValueError) as error:
            found["unwritten"][name] = str(error)
    return found


def _candidates(processing: Path, names: list[str], warnings: list[str]) -> list[Path]:
    """Return the YAML files that are named as a folder or as the files of the images, in any case."""
    with suppress(FileNotFoundError, NotADirectoryError):
        files = [Path(entry) for entry in _entries(processing, warnings) if entry.endswith(SUFFIXES)]
        named = [file for file in files if file.stem.lower() in names]
        return sorted(named, key=lambda file: (SUFFIXES.index(file.suffix), file))[:MOST_CANDIDATES]
    return []


def _entries(folder: Path, warnings: list[str]) -> Iterator[str]:
    """Yield the paths of what is in a folder; but not without end, nor names that nothing else can hold."""
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number == MOST_ENTRIES:
                warnings.append(f"{folder} has more than {MOST_ENTRIES} entries: the others aren't looked at")
                return
            if entry.name.isprintable():  # neither line ends nor bytes that aren't UTF-8
                yield entry.path
            elif entry.name.lower().endswith((*SUFFIXES, ".pdb")):
                warnings.append(f"{folder}: {entry.name!a:.100} is left out: its name isn't printable text")


def _yaml_text(file: Path) -> YAMLText:
    try:
        content = read_regular(file, LONGEST_YAML + 1)
    except (OSError, ValueError) as error:
        return YAMLText(file=str(file), text=None, fault=str(error))
    return YAMLText(file=str(file), text=content.decode("latin-1"), fault="")


def _models(folder: Path, warnings: list[str]) -> list[str]:
    try:
        return sorted(entry for entry in _entries(folder, warnings) if entry.endswith(".pdb") and os.path.isfile(entry))  # noqa: PTH113
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        warnings.append(f"the models in {folder} are left out: {error}")
        return []


def _exists(path: Path, warnings: list[str]) -> bool:
    try:
        return path.exists()
    except OSError as error:
        warnings.append(f"{path} is left out: {error}")
        return False


def _write_once(path: Path, content: bytes, question: Question) -> None:
    if not path.exists():
        write_confined(path, content, [Path(place) for place in question["also"]], [Path(question["visit"])])


def main() -> None:
    """Answer the questions."""
    questions: Any = json.load(sys.stdin)
    # Who asks kills this process then; if that one is gone, this one doesn't stay either
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(question["limit_s"] for question in questions) + 1)
    json.dump([look(question) for question in questions], sys.stdout)


if __name__ == "__main__":
    main()
