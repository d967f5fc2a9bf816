"""What the visits' YAML files say of crystals of which ISPyB says nothing: one look for a page of collections."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from blocks.identifiers import Dcid
from tasks.ispyb_access.reading.collection import CollectionRow
from tasks.ispyb_access.reading.parameters import UnitCell
from tasks.ispyb_access.reading.visit.files import TIME_LIMIT_S
from tasks.ispyb_access.reading.visit.looking import MOST_CANDIDATES, Question, YAMLText
from tasks.ispyb_access.reading.visit.looking_process import LookFailed, look_into_all
from tasks.ispyb_access.reading.visit.yaml_files import InvalidYAML, read_crystal

logger = logging.getLogger(__name__)

Crystal = tuple[str, UnitCell | None]
NOTHING: Crystal = ("", None)


class VisitCrystals:
    """Space groups and unit cells in visits' folders, as the reader of one data collection finds them.

    A file system that doesn't answer in time isn't asked again: past collections aren't worth to wait for each visit.
    """

    def __init__(self, limit_s: float = TIME_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._is_answering = True

    def read(self, rows: Iterable[CollectionRow]) -> dict[Dcid, Crystal]:
        """Return what the files say, for those data collections of which they say something."""
        unsaid = [row for row in rows if not row.space_group and not row.unit_cell and row.parts]
        by_visit: dict[str, list[CollectionRow]] = {}
        for row in unsaid:
            by_visit.setdefault(str(row.visit[1]), []).append(row)
        found = self._files([(visit, sorted(_names(rows))) for visit, rows in by_visit.items()])
        crystals: dict[Dcid, Crystal] = {}
        for files, rows in zip(found, by_visit.values(), strict=True):
            crystals |= self._of_visit(files, rows)
        return crystals

    def _of_visit(self, files: list[YAMLText], rows: list[CollectionRow]) -> dict[Dcid, Crystal]:
        if len(files) < MOST_CANDIDATES:
            named = [(PurePosixPath(file["file"]).stem.lower(), file) for file in files]
            candidates = [[file for stem, file in named if stem in _names([row])] for row in rows]
        else:  # there may be more of which a collection's own is one
            candidates = self._files([(str(row.visit[1]), sorted(_names([row]))) for row in rows])
        return {row.dcid: _crystal(mine) for row, mine in zip(rows, candidates, strict=True) if mine}

    def _files(self, wanted: Sequence[tuple[str, list[str]]]) -> list[list[YAMLText]]:
        """Return the YAML files of these names, in lower case, of each visit."""
        if not wanted or not self._is_answering:
            return [[] for _ in wanted]
        questions = [
            Question(visit=visit, read=True, names=names, groups=False, write=[], also=[], limit_s=self._limit_s)
            for visit, names in wanted
        ]
        try:
            return [found["crystal"] for found in look_into_all(questions)]
        except (TimeoutError, LookFailed, OSError) as error:
            self._is_answering = False
            reason = f" ({error})" if str(error) else ""
            logger.warning(
                "the files of %d visits (%s, …) couldn't be read within %g s%s: space groups and unit cells that stand "
                "only in visits' YAML files are left out from here on",
                *(len(questions), f"{questions[0]['visit']}/processing", self._limit_s, reason),
            )
            return [[] for _ in wanted]


def _names(rows: Iterable[CollectionRow]) -> set[str]:
    return {part.lower() for row in rows for part in row.parts}


def _crystal(files: Sequence[YAMLText]) -> Crystal:
    """Return what the first file says that can be read."""
    contents = (_content(file["file"], file["text"], file["fault"]) for file in files)
    return next((content for content in contents if content is not None), NOTHING)


@lru_cache(maxsize=1000)  # a page has many collections of a file, whose faults are to be told once
def _content(file: str, text: str | None, fault: str) -> Crystal | None:
    try:
        return read_crystal(YAMLText(file=file, text=text, fault=fault))
    except InvalidYAML as error:
        logger.warning("%s; it is left out", error)
        return None
