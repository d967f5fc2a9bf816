"""What users put into their visit's folder for processing to find: `<visit>/processing/…`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from blocks.errors import PassingFault
from tasks.ispyb_access.reading.parameters import PDBModel, UnitCell
from tasks.ispyb_access.reading.visit.time_limit import within
from tasks.ispyb_access.reading.visit.yaml_files import InvalidYAML, read_crystal, read_groups
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

TIME_LIMIT_S = 10.0  # as Zocalo


class VisitFilesUnavailable(PassingFault):
    """The file system of a visit doesn't answer."""


class FileAccess(Enum):
    """What to do with the visit's folder."""

    NONE = auto()
    READ = auto()
    FULL = auto()
    """Also write the PDB files that ISPyB holds, for programs to read."""


@dataclass(frozen=True)
class PDBRow:
    """A row of ISPyB's table PDB."""

    pdb_id: int
    name: str | None
    contents: str | None
    code: str | None
    source: str | None


@dataclass(frozen=True)
class Wanted:
    """What to look for in a visit's folder.

    Parameters
    ----------
    visit_directory
        The folder; None if nobody knows where it is.
    parts
        Components of the path of the images below it: folders, then the file template.
    crystal, groups
        Whether ISPyB leaves open what `<prefix>.yml` and `sample_groups.yml` may say.
    pdb_rows
        Models that ISPyB has of the protein.
    """

    visit_directory: str | None
    parts: tuple[str, ...]
    crystal: bool
    groups: bool
    pdb_rows: Sequence[PDBRow] = ()


@dataclass(frozen=True)
class VisitFiles:
    """What was found in a visit's folder."""

    space_group: str = ""
    unit_cell: UnitCell | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    pdb: list[PDBModel] = field(default_factory=list)
    reference_geometry: str | None = None


def find_visit_files(wanted: Wanted, access: FileAccess, limit_s: float = TIME_LIMIT_S) -> VisitFiles:
    """Look into a visit's folder. Files that can't be read or understood are warned of and left out.

    Raises
    ------
    VisitFilesUnavailable
        The file system hasn't answered within `limit_s` seconds.
    """
    try:
        return within(limit_s, lambda: _find(wanted, access))
    except TimeoutError as error:
        raise VisitFilesUnavailable(
            f"the files of {wanted.visit_directory}/processing couldn't be read within {limit_s:g} s: expected unit "
            "cell, sample groups and models at once; see whether the visit's file system answers (a file there may "
            "be no plain file), then run this again"
        ) from error


def _find(wanted: Wanted, access: FileAccess) -> VisitFiles:
    if wanted.visit_directory is None or access is FileAccess.NONE:
        return VisitFiles(pdb=list(_linked_models(wanted, access)))
    processing = Path(wanted.visit_directory, "processing")
    geometry = processing / "reference_geometry.expt"
    space_group, unit_cell = _crystal(processing, wanted.parts) if wanted.crystal else ("", None)
    return VisitFiles(
        space_group=space_group,
        unit_cell=unit_cell,
        groups=_groups(processing / "sample_groups.yml", wanted.parts) if wanted.groups else (),
        pdb=[*_linked_models(wanted, access), *_own_models(processing / "pdb")],
        reference_geometry=str(geometry) if _exists(geometry) else None,
    )


def _crystal(processing: Path, parts: Sequence[str]) -> tuple[str, UnitCell | None]:
    """Read the first file that is named as a folder or as the files of the images, in any case."""
    names = {part.lower() for part in parts}
    for pattern in ("*.yml", "*.yaml"):
        for file in sorted(processing.glob(pattern)):
            if file.stem.lower() in names:
                try:
                    return read_crystal(file)
                except InvalidYAML as error:
                    logger.warning("%s; it is left out", error)
    return "", None


def _groups(file: Path, parts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of folders that the images' own folders are in."""
    if not _exists(file):
        return ()
    try:
        return tuple(group for group in read_groups(file) if not set(group).isdisjoint(parts))
    except InvalidYAML as error:
        logger.warning("%s; it is left out", error)
        return ()


def _linked_models(wanted: Wanted, access: FileAccess) -> Iterator[PDBModel]:
    """Yield the models that are linked to the protein in ISPyB: by code, else as the file that holds the contents."""
    for row in wanted.pdb_rows:
        code = (row.code or "").strip()
        if len(code) == 4 and code.isalnum():
            yield PDBModel(code=code, filepath=None, source=row.source)
            continue
        if code:
            logger.warning("PDB entry %d of ISPyB has the code %r: expected four letters or digits", row.pdb_id, code)
        if row.contents:
            try:
                path = _file_of(row, wanted.visit_directory, access)
            except (OSError, ValueError) as error:
                logger.warning("PDB entry %d of ISPyB is left out, its file can't be written: %s", row.pdb_id, error)
            else:
                yield PDBModel(code=None, filepath=str(path), source=row.source)


def _file_of(row: PDBRow, visit_directory: str | None, access: FileAccess) -> Path:
    """Return the file that holds the contents of a PDB entry, and write it if it isn't there."""
    name, content = row.name or "", (row.contents or "").encode()
    if visit_directory is None:
        raise ValueError("the data collection has no image directory, hence no visit's folder")
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise ValueError(f"expected the name of a file, seen {row.name!r}")
    # Zocalo's place. By the content: what is there is right, and written once for all who ask.
    path = Path(visit_directory, "tmp", "pdb", hashlib.sha1(content).hexdigest(), name)
    if access is FileAccess.FULL and not path.exists():
        write_atomically(path, content)
    return path


def _own_models(folder: Path) -> Iterator[PDBModel]:
    try:
        files = sorted(file for file in folder.glob("*.pdb") if file.is_file())
    except OSError as error:
        logger.warning("the models in %s are left out: %s", folder, error)
        return
    for file in files:
        yield PDBModel(code=None, filepath=str(file), source=None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        logger.warning("%s is left out: %s", path, error)
        return False
