"""Per-image results: many rows at once, in any order, any number of times."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from math import inf, isclose, isfinite
from operator import itemgetter
from typing import Any, Final

from ispyb.sqlalchemy import Base
from pydantic import Field, model_validator
from sqlalchemy import Connection, func, select, tuple_
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.sql.dml import Insert

from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.looking import looking, may_look
from tasks.ispyb_access.writing.grants.needs import changes, inserts
from tasks.ispyb_access.writing.rows.columns import LARGEST_FLOAT, LARGEST_INTEGERS
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, Identity, WholeFigure

logger = logging.getLogger(__name__)

PER_IMAGE: Final = "store_per_image_analysis_results"
TABLE = Base.metadata.tables["ImageQualityIndicators"]
KEY = ("dataCollectionId", "imageNumber")
COLUMNS = (  # in the order in which the models have them
    *("dataCollectionId", "imageNumber", "spotTotal", "inResTotal", "goodBraggCandidates", "iceRings"),
    *("method1Res", "method2Res", "maxUnitCell", "pctSaturationTop50Peaks", "inResolutionOvrlSpots"),
    *("binPopCutOffMethod2Res", "recordTimeStamp", "totalIntegratedSignal", "dozor_score"),
)
FILLED_IN = (  # what a later result of an image may add, by SQL as by the procedure
    *("spotTotal", "goodBraggCandidates", "method1Res", "method2Res", "totalIntegratedSignal", "dozor_score"),
)
SIX_DIGITS = 1e-5  # those of a FLOAT
NOT_DETERMINED = 0  # as Zocalo writes it, rather than NULL
LARGEST_IMAGE = LARGEST_INTEGERS["MEDIUMINT"]
BY_IMAGE = itemgetter(0, 1)


class PerImageResult(CommandParameters):
    """What per-image analysis found on one image.

    The limits are the columns': rows aren't looked at again one by one, since there are thousands in a second.
    """

    dcid: Identity
    file_pattern_index: int | None = Field(None, alias="file-pattern-index", ge=0, le=LARGEST_IMAGE)
    file_number: int | None = Field(None, alias="file-number", ge=0, le=LARGEST_IMAGE)
    n_spots_total: WholeFigure = None
    n_spots_no_ice: WholeFigure = None
    estimated_d_min: float | None = None
    total_intensity: float | None = None
    dozor_score: float | None = None

    @model_validator(mode="after")
    def _is_a_result_of_an_image(self) -> "PerImageResult":
        if self.file_pattern_index is None and self.file_number is None:
            raise ValueError("expected the image's number as file-pattern-index or file-number, seen neither")
        if self.n_spots_total is None and self.dozor_score is None:
            raise ValueError("expected n_spots_total or dozor_score, seen neither")
        if LARGEST_FLOAT < abs(self.estimated_d_min or 0.0) < inf:
            raise ValueError(f"expected estimated_d_min up to {LARGEST_FLOAT:.1e} Å, seen {self.estimated_d_min}")
        return self

    @property
    def has_no_numbers(self) -> bool:
        """Whether a figure is NaN or infinite."""
        figures = (self.estimated_d_min, self.total_intensity, self.dozor_score)
        return any(value is not None and not isfinite(value) for value in figures)

    @property
    def image_number(self) -> int:
        """The image's number within the data collection."""
        number = self.file_number if self.file_pattern_index is None else self.file_pattern_index
        assert number is not None
        return number

    def row(self, written_at: str) -> tuple[Any, ...]:
        """Return the row of ImageQualityIndicators, in the order of `COLUMNS`; numbers that are none become NULL."""
        d_min = _number(self.estimated_d_min)
        return (
            *(
                self.dcid,
                self.image_number,
                self.n_spots_total,
                self.n_spots_total,  # inResTotal: Zocalo writes the same number into both, as d_min into both methods'
                self.n_spots_no_ice,
                NOT_DETERMINED,
            ),
            *(d_min, d_min, NOT_DETERMINED, NOT_DETERMINED, NOT_DETERMINED),
            *(NOT_DETERMINED, written_at, _number(self.total_intensity), _number(self.dozor_score)),
        )


def _number(value: float | None) -> float | None:
    return value if value is None or isfinite(value) else None


def store_per_image_results(connection: Connection, results: Iterable[PerImageResult]) -> None:
    """Write results, over those that are there; what a result doesn't say stays as it was.

    Sorted by image, so that writers of the same images wait for each other instead of dead-locking (four threads on
    MariaDB: 12 dead locks in 144 batches unsorted, none sorted).
    """
    now = datetime.now().replace(microsecond=0).isoformat(" ", "microseconds")  # as SQLAlchemy writes it on SQLite
    results = list(results)
    tell_of_no_numbers(results)
    rows = sorted((result.row(now) for result in results), key=BY_IMAGE)
    if rows:
        # Half of the time of SQLAlchemy's own executemany goes into parameters by name, which are in order here.
        connection.exec_driver_sql(_compiled(connection.dialect.name), rows)


def insert_new_results(connection: Connection, results: Sequence[PerImageResult]) -> int:
    """Write the results of images that have none yet, and return how many those are: for who may insert only.

    INSERT IGNORE passes over rows that are there, without a right to change or even to see them. The columns take
    whatever the models let through, so there is nothing else that it could pass over.
    """
    tell_of_no_numbers(results)
    now = datetime.now().replace(microsecond=0).isoformat(" ", "microseconds")
    rows = sorted((result.row(now) for result in results), key=BY_IMAGE)
    return connection.exec_driver_sql(_compiled_insert(), rows).rowcount


def results_to_fill_in(connection: Connection, results: Sequence[PerImageResult]) -> list[PerImageResult]:
    """Return the results that say something which isn't written yet; all of them if nobody may look."""
    if not may_look(connection, TABLE):
        return list(results)
    numbers = tuple_(*(TABLE.c[name] for name in KEY))
    named = numbers.in_([(result.dcid, result.image_number) for result in results])
    names = (*KEY, *FILLED_IN)
    with looking(connection, TABLE) as reading:
        rows = reading.execute(select(*(TABLE.c[name] for name in names)).where(named))
        written = {tuple(row[:2]): row[2:] for row in rows}
    return [result for result in results if _says_more(result, written.get((result.dcid, result.image_number)))]


def _says_more(result: PerImageResult, written: Sequence[Any] | None) -> bool:
    row = dict(zip(COLUMNS, result.row(written_at=""), strict=True))
    values = [row[name] for name in FILLED_IN]
    if written is None:
        return True
    return any(
        value is not None and (there is None or not isclose(there, value, rel_tol=SIX_DIGITS))
        for value, there in zip(values, written, strict=True)
    )


def tell_of_no_numbers(results: Sequence[PerImageResult]) -> None:
    """Warn of figures that are written as NULL: once, since thousands of images may have them."""
    wanting = [result for result in results if result.has_no_numbers]
    if wanting:
        logger.warning(
            "%s: %d of %d images have figures that are no numbers, and are left out; the first is image %d of dcid %d",
            *(TABLE.name, len(wanting), len(results), wanting[0].image_number, wanting[0].dcid),
        )


def store_per_image_analysis_results(connection: Connection, result: PerImageResult) -> int:
    """Write one image's results; the answer is Zocalo's, always 1."""
    store_per_image_results(connection, [result])
    return 1


@cache
def upsert(dialect_name: str) -> Insert:
    """Return the statement that inserts a row or fills it up, for executemany."""
    columns = [name for name in COLUMNS if name not in KEY]
    if dialect_name == "sqlite":
        new = sqlite.insert(TABLE)
        return new.on_conflict_do_update(
            index_elements=KEY, set_={name: func.coalesce(new.excluded[name], TABLE.c[name]) for name in columns}
        )
    other = mysql.insert(TABLE)
    return other.on_duplicate_key_update({name: func.coalesce(other.inserted[name], TABLE.c[name]) for name in columns})


@cache
def _compiled(dialect_name: str) -> str:
    """Return the statement as SQL, whose parameters are in the order of `COLUMNS`."""
    dialect = sqlite.dialect() if dialect_name == "sqlite" else mysql.dialect(paramstyle="format")
    compiled = upsert(dialect_name).compile(dialect=dialect, column_keys=COLUMNS)
    assert compiled.positiontup is not None
    assert tuple(compiled.positiontup) == COLUMNS
    return str(compiled)


@cache
def _compiled_insert() -> str:
    """Return MariaDB's statement that inserts rows which aren't there, with parameters as in `_compiled`."""
    compiled = (
        mysql.insert(TABLE)
        .prefix_with("IGNORE")
        .compile(dialect=mysql.dialect(paramstyle="format"), column_keys=COLUMNS)
    )
    assert tuple(compiled.positiontup or ()) == COLUMNS
    return str(compiled)


COMMANDS: Final[Mapping[str, Command]] = {
    PER_IMAGE: Command(
        PerImageResult,
        store_per_image_analysis_results,
        is_repeatable=True,
        needs=inserts(TABLE) | changes(TABLE),
    ),
}
