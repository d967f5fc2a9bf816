"""Results of experimental phasing, by a procedure that takes all of them as one document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from tasks.ispyb_access.writing.commands.phasing import PhasingContainer, PhasingResults
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure
from tasks.ispyb_access.writing.rows.row_parameters import RowParameters


def insert_phasing_analysis_results(ispyb: Connector, results: PhasingResults) -> int:
    """Write the results of phasing, in a transaction, and return the phasingAnalysisId."""
    document = {"PhasingContainer": _document(results.phasing_results.container)}
    number: int = ispyb.mx_processing.insert_phasing_analysis_results(document, results.scaling_id)
    return number


def _document(container: PhasingContainer) -> dict[str, Any]:
    """Write the results as the procedure reads them: by the names of tables and columns."""
    parts: tuple[Iterable[RowParameters], ...] = (container.analysis[:1], container.program_run[:1], container.files)
    document: dict[str, Any] = {part[0].table.name: _rows(part) for part in map(tuple, parts) if part}
    document |= {stage.table.name: _rows([stage]) for stage in container.stages}
    if figures := container.scaling.statistics:
        document["Phasing_has_ScalingContainer"] = {figures[0].table.name: _rows(figures)}
    return document


def _rows(parts: Iterable[RowParameters]) -> list[dict[str, Any]]:
    """Return what is known; the procedure would take JSON's null for a text."""
    return [{name: _plain(value) for name, value in part.row().items() if value is not None} for part in parts]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return int(value) if isinstance(value, bool) else value


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "insert_phasing_analysis_results": insert_phasing_analysis_results,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "insert_phasing_analysis_results": ("insert_phasing_analysis_results",),
}
