"""What users put into their visit's folder for processing to find: `<visit>/processing/…`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from blocks.errors import PassingFault
from blocks.settings import get_settings
from tasks.confinement import is_plain_name
from tasks.ispyb_access.reading.parameters import PDBModel, UnitCell
from tasks.ispyb_access.reading.visit.looking import Found, Question, YAMLText
from tasks.ispyb_access.reading.visit.looking_process import LookFailed, look_by_process
from tasks.ispyb_access.reading.visit.yaml_files import InvalidYAML, read_crystal, read_groups

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


class LinkedModel(NamedTuple):
    """A model that is linked to the protein in ISPyB, and its row there."""

    model: PDBModel
    row: PDBRow


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
    models = list(_linked_models(wanted))
    if wanted.visit_directory is None or access is FileAccess.NONE:
        return VisitFiles(pdb=[model for model, _ in models])
    found = _look(_question(wanted, access, models, limit_s))
    for warning in found["warnings"]:
        logger.warning("%s", warning)
    space_group, unit_cell = _crystal(found["crystal"])
    return VisitFiles(
        space_group=space_group,
        unit_cell=unit_cell,
        groups=_groups(found["groups"], wanted.parts),
        pdb=[
            *_written(models, found["unwritten"]),
            *(PDBModel(code=None, filepath=file, source=None) for file in found["models"]),
        ],
        reference_geometry=found["geometry"],
    )


def _question(wanted: Wanted, access: FileAccess, models: list[LinkedModel], limit_s: float) -> Question:
    writes = access is FileAccess.FULL
    return Question(
        visit=str(wanted.visit_directory),
        read=True,
        names=[part.lower() for part in wanted.parts] if wanted.crystal else [],
        groups=wanted.groups,
        write=[
            (model.filepath, row.contents)
            for model, row in models
            if writes and model.filepath is not None and row.contents
        ],
        also=[str(place) for place in get_settings().visit_link_targets] if writes else [],
        limit_s=limit_s,
    )


def _look(question: Question) -> Found:
    try:
        return look_by_process(question)
    except (TimeoutError, LookFailed, OSError) as error:
        reason = f" ({error})" if str(error) else ""
        raise VisitFilesUnavailable(
            f"the files of {question['visit']}/processing couldn't be read within {question['limit_s']:g} s{reason}: "
            "expected unit cell, sample groups and models at once; see whether the visit's file system answers, then "
            "run this again"
        ) from error


def _crystal(files: Sequence[YAMLText]) -> tuple[str, UnitCell | None]:
    """Read the first file that can be read."""
    for file in files:
        try:
            return read_crystal(file)
        except InvalidYAML as error:
            logger.warning("%s; it is left out", error)
    return "", None


def _groups(file: YAMLText | None, parts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of folders that the images' own folders are in."""
    if file is None:
        return ()
    try:
        return tuple(group for group in read_groups(file) if not set(group).isdisjoint(parts))
    except InvalidYAML as error:
        logger.warning("%s; it is left out", error)
        return ()


def _linked_models(wanted: Wanted) -> Iterator[LinkedModel]:
    """Yield the models that are linked to the protein in ISPyB: by code, else as the file that holds the contents."""
    for row in wanted.pdb_rows:
        code = (row.code or "").strip()
        if len(code) == 4 and code.isalnum():
            yield LinkedModel(PDBModel(code=code, filepath=None, source=row.source), row)
            continue
        if code:
            logger.warning(
                "PDB entry %d of ISPyB has the code %.40r: expected four letters or digits", row.pdb_id, code
            )
        if row.contents:
            try:
                path = _file_of(row, wanted.visit_directory)
            except ValueError as error:
                _leave_out(row, error)
            else:
                yield LinkedModel(PDBModel(code=None, filepath=str(path), source=row.source), row)


def _file_of(row: PDBRow, visit_directory: str | None) -> Path:
    """Return the file that holds the contents of a PDB entry."""
    name, content = row.name or "", (row.contents or "").encode()
    if visit_directory is None:
        raise ValueError("the data collection has no image directory, hence no visit's folder")
    if not is_plain_name(name):
        raise ValueError(f"expected the name of a file, seen {row.name!r:.100}")
    # Zocalo's place. By the content: what is there is right, and written once for all who ask.
    return Path(visit_directory, "tmp", "pdb", hashlib.sha1(content).hexdigest(), name)


def _written(models: Sequence[LinkedModel], unwritten: Mapping[str, str]) -> Iterator[PDBModel]:
    for model, row in models:
        if (fault := unwritten.get(model.filepath or "")) is not None:
            _leave_out(row, fault)
        else:
            yield model


def _leave_out(row: PDBRow, reason: object) -> None:
    logger.warning("PDB entry %d of ISPyB is left out, its file can't be written: %s", row.pdb_id, reason)
