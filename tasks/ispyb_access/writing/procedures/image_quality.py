"""Per-image results, by procedures: one call for each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tasks.ispyb_access.writing.commands.image_quality import COLUMNS, PER_IMAGE, PerImageResult, tell_of_no_numbers
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled


def store_per_image_analysis_results(ispyb: Connector, result: PerImageResult) -> int:
    """Write one image's results, over those that are there; the answer is always 1.

    The procedure leaves aside what Zocalo never determines: ice rings, the largest cell, saturation and the like.
    """
    tell_of_no_numbers([result])
    processing = ispyb.mx_processing
    row = dict(zip(COLUMNS, result.row(written_at=""), strict=True))
    processing.upsert_quality_indicators(filled(processing.get_quality_indicators_params(), row))
    return 1


PROCEDURES: Final[Mapping[str, Procedure]] = {
    PER_IMAGE: store_per_image_analysis_results,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    PER_IMAGE: ("upsert_quality_indicators",),
}
