"""Per-image results: many rows at once, in any order, any number of times."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

from ispyb.sqlalchemy import Base
from pydantic import Field, model_validator
from sqlalchemy import Connection, func
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.sql.dml import Insert

from tasks.ispyb_access.commands.base import CommandParameters, Identity
from tasks.ispyb_access.commands.rows import fit_row

TABLE = Base.metadata.tables["ImageQualityIndicators"]
KEY = ("dataCollectionId", "imageNumber")
NOT_DETERMINED = {
    "iceRings": 0,
    "maxUnitCell": 0,
    "pctSaturationTop50Peaks": 0,
    "inResolutionOvrlSpots": 0,
    "binPopCutOffMethod2Res": 0,
}


class PerImageResult(CommandParameters):
    """What per-image analysis found on one image."""

    dcid: Identity
    file_pattern_index: int | None = Field(None, alias="file-pattern-index", ge=0)
    file_number: int | None = Field(None, alias="file-number", ge=0)
    n_spots_total: int | None = None
    n_spots_no_ice: int | None = None
    estimated_d_min: float | None = None
    total_intensity: float | None = None
    dozor_score: float | None = None

    @model_validator(mode="after")
    def _is_a_result_of_an_image(self) -> "PerImageResult":
        if self.file_pattern_index is None and self.file_number is None:
            raise ValueError("expected the image's number as file-pattern-index or file-number, seen neither")
        if self.n_spots_total is None and self.dozor_score is None:
            raise ValueError("expected n_spots_total or dozor_score, seen neither")
        return self

    @property
    def image_number(self) -> int:
        """The image's number within the data collection."""
        number = self.file_number if self.file_pattern_index is None else self.file_pattern_index
        assert number is not None
        return number

    def row(self) -> dict[str, Any]:
        """Return the row of ImageQualityIndicators."""
        return {
            "dataCollectionId": self.dcid,
            "imageNumber": self.image_number,
            "spotTotal": self.n_spots_total,
            "inResTotal": self.n_spots_total,
            "goodBraggCandidates": self.n_spots_no_ice,
            "method1Res": self.estimated_d_min,
            "method2Res": self.estimated_d_min,
            "totalIntegratedSignal": self.total_intensity,
            "dozor_score": self.dozor_score,
            **NOT_DETERMINED,
        }


def store_per_image_results(connection: Connection, results: Iterable[PerImageResult]) -> None:
    """Write results, over those that are there; what a result doesn't say stays as it was.

    Sorted by image, so that writers of the same images wait for each other instead of dead-locking.
    """
    now = datetime.now()
    rows = [fit_row(TABLE, result.row()) | {"recordTimeStamp": now} for result in results]
    if rows:
        rows.sort(key=lambda row: (row["dataCollectionId"], row["imageNumber"]))
        connection.execute(upsert(connection.dialect.name), rows)


def store_per_image_analysis_results(connection: Connection, result: PerImageResult) -> int:
    """Write one image's results; the answer is Zocalo's, always 1."""
    store_per_image_results(connection, [result])
    return 1


@cache
def upsert(dialect_name: str) -> Insert:
    """Return the statement that inserts a row or fills it up, for executemany."""
    columns = [name for name in (*_columns(), "recordTimeStamp") if name not in KEY]
    if dialect_name == "sqlite":
        new = sqlite.insert(TABLE)
        return new.on_conflict_do_update(
            index_elements=KEY, set_={name: func.coalesce(new.excluded[name], TABLE.c[name]) for name in columns}
        )
    other = mysql.insert(TABLE)
    return other.on_duplicate_key_update({name: func.coalesce(other.inserted[name], TABLE.c[name]) for name in columns})


def _columns() -> list[str]:
    return list(PerImageResult.model_validate({"dcid": 1, "file-number": 0, "n_spots_total": 0}).row())
