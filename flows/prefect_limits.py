"""What Prefect's API can bear: ids and a little beside them as flows' parameters, texts that PostgreSQL can keep.

Prefect keeps parameters in PostgreSQL and shows them in every list of runs. It takes 512 KiB for a run, no NUL, and one
whole number beyond 64 bits has made it answer 500 to everybody who lists runs; PostgreSQL gives 1e25 back as such a
number, and Prefect's UI rounds them. So what is none of Prefect's business goes
other ways (`flows.recipe.mimas_reading`), and what people hand over is checked before: by the deployments' JSON
Schema, which Prefect asks when a run is created, and by Plaza itself whenever it creates one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from blocks.errors import PlazaError
from blocks.identifiers import LARGEST_OF_ISPYB, Dcid
from flows.display_text import one_line, printable, shortened

LARGEST_DCID: Final = LARGEST_OF_ISPYB
LARGEST_NUMBER: Final = 2**63 - 1024
"""The largest of 64 bits that is a double: Prefect's UI sends schemas back as JavaScript has read them."""
MOST_BYTES: Final = 64 * 1024  # an eighth of what Prefect takes: every list of runs shows them
MOST_CHARACTERS: Final = 10_000  # of a state's message, which every list of runs shows
NAME_CHARACTERS: Final = 200  # of runs: PostgreSQL has them in an index, whose entries take 2700 bytes at most
TAG_CHARACTERS: Final = 100  # visits and beamlines take 45 in ISPyB
PAGE_CHARACTERS: Final = 256 * 1024  # of an artifact that people read
KEY_CHARACTERS: Final = 500  # of idempotency keys, which are in an index, too
MOST_LEVELS: Final = 4  # of lists and objects in one another, the first included: Prefect's JSON Schemas can't recur
_DIGITS: Final = re.compile(r"\s*0*[1-9][0-9]{0,9}\s*")
_NO_NUL: Final = r"^[^\x00]*$"


class ParametersRefused(PlazaError, ValueError):
    """Parameters that Prefect's API would choke on, or that are no parameters but data."""


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check that parameters for a flow run may go through Prefect's API.

    Raises
    ------
    ParametersRefused
        One may not; the message names it.
    """
    for path, value in _leaves(parameters):
        fault = _fault(value)
        if fault:
            raise ParametersRefused(f"parameter {path}: {fault}; nothing of the kind can go through Prefect's API")
    size = len(json.dumps(parameters, default=str))
    if size > MOST_BYTES:
        raise ParametersRefused(
            f"the parameters take {size} bytes as JSON: expected {MOST_BYTES} at most; hand over ids or names of "
            "files, not their content"
        )


def state_message(text: str) -> str:
    """Return what a state may say: without what isn't printable, such as a NUL, and without its middle if it's long."""
    return shortened(printable(text), MOST_CHARACTERS)


def page_text(text: str) -> str:
    """Return what an artifact may show: lines without what isn't printable, which aren't too many."""
    return shortened(printable(text), PAGE_CHARACTERS)


def run_name(text: str) -> str:
    """Return what a flow run or a task run may be called: a line that isn't long."""
    return shortened(one_line(text), NAME_CHARACTERS)


def tag(text: str) -> str:
    """Return what a run may be tagged with: a line that isn't long."""
    return shortened(one_line(text), TAG_CHARACTERS)


def idempotency_key(text: str) -> str:
    """Return a key by which a run is created once; of a long or an unprintable one a digest stands for all of it."""
    if len(text) <= KEY_CHARACTERS and text.isprintable():
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{one_line(text[:NAME_CHARACTERS])}-{digest}"


def _leaves(value: Any, path: str = "", level: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield all texts, numbers, … of a value, and the keys that lead to them, with their places."""
    if not isinstance(value, Mapping | list | tuple):
        yield path, value
        return
    if level == MOST_LEVELS:
        raise ParametersRefused(f"parameter {path}: expected at most {MOST_LEVELS} levels of lists and objects")
    for key, below in value.items() if isinstance(value, Mapping) else enumerate(value):
        place = f"{path}[{key!r:.40}]" if path else f"{key!r:.40}"
        yield place, key
        yield from _leaves(below, place, level + 1)


def _fault(value: Any) -> str | None:
    if isinstance(value, str):
        if "\0" in value:
            return "its text holds a NUL character"
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return "its text holds half a character (a surrogate), as of a file name that isn't UTF-8"
    elif isinstance(value, float) and math.isnan(value):
        return "it is no number (NaN), which JSON doesn't have"
    elif isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:  # to JSON, 1e20 is a whole number
        return "its number needs more than 64 bits"
    return None


def _checked(parameters: dict[str, Any]) -> dict[str, Any]:
    check_parameters(parameters)
    return parameters


def _number_or_digits(value: Any) -> Any:
    is_other = isinstance(value, bool) or (isinstance(value, str) and not _DIGITS.fullmatch(value))
    if is_other:  # True is 1 to Python and to pydantic, and "1_0" is 10
        raise ValueError(f"expected the id of a data collection, seen {value!r:.60}")
    return value


def _schema_of_value(levels: int) -> dict[str, Any]:
    """Return the JSON Schema of any value that Prefect's API bears; each keyword counts for values of its type only."""
    schema: dict[str, Any] = {"pattern": _NO_NUL, "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER}
    if levels == 0:
        return schema | {"type": ["string", "number", "boolean", "null"]}
    below = _schema_of_value(levels - 1)
    return schema | {"propertyNames": {"pattern": _NO_NUL}, "additionalProperties": below, "items": below}


DcidParameter = Annotated[Dcid, Field(ge=1, le=LARGEST_DCID), BeforeValidator(_number_or_digits)]
"""The data collection that a flow is to work on."""

DcidOrDigits = Annotated[
    DcidParameter,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": LARGEST_DCID},
                {"type": "string", "pattern": f"^{_DIGITS.pattern}$"},
            ]
        }
    ),
]
"""The same, also as text of digits, which programs that start recipes by Prefect's API may send."""

ExtraParameters = Annotated[
    dict[str, Any],
    AfterValidator(_checked),
    WithJsonSchema({**_schema_of_value(MOST_LEVELS), "type": "object"}),
]
"""What is handed over beside it: few, small, of JSON's types."""
