"""Ids of ISPyB's rows, each kind a type of its own: read once, where they come from outside."""

import re
from typing import Final, NewType

from blocks.errors import UnknownDataCollection, UnknownJob

Dcid = NewType("Dcid", int)
"""DataCollection.dataCollectionId: what everything hangs off."""

JobId = NewType("JobId", int)
"""ProcessingJob.processingJobId."""

# What a BIGINT holds. Columns of today's schema end before, and then have no such row; but beyond this no database and
# no JSON of 64 bits could take the number: Prefect's server answers 500 to everybody who lists a run with such a one.
LARGEST_ID: Final = 2**63 - 1
_LARGEST_DCID: Final = 2**32 - 1  # ISPyB's column is an unsigned INT: what people are told

# Not \d, which other scripts' digits are too; nor thousands of digits, which Python refuses to read.
_DIGITS = re.compile(r"[0-9]{1,19}")


def parse_dcid(value: object) -> Dcid:
    """Return the id of a data collection, which may come as text of digits, as in Zocalo's messages.

    Raises
    ------
    UnknownDataCollection
        It is none: no data collection can have it.
    """
    number = _positive_id(value)
    if number is None:
        raise UnknownDataCollection(_refusal(value, "data collection", _LARGEST_DCID))
    return Dcid(number)


def parse_job_id(value: object) -> JobId:
    """Return the id of a processing job, which may come as text of digits, as in Zocalo's messages.

    Raises
    ------
    UnknownJob
        It is none: no processing job can have it.
    """
    number = _positive_id(value)
    if number is None:
        raise UnknownJob(_refusal(value, "processing job"))
    return JobId(number)


def _positive_id(value: object) -> int | None:
    if isinstance(value, str):
        digits = value.strip()
        value = int(digits) if _DIGITS.fullmatch(digits) else None
    if isinstance(value, bool) or not isinstance(value, int):  # True is an int to Python
        return None
    return int(value) if 1 <= value <= LARGEST_ID else None


def _refusal(value: object, of: str, largest: int = LARGEST_ID) -> str:
    return f"{value!r:.60} is no id of a {of}: expected a whole number from 1 to {largest}"
