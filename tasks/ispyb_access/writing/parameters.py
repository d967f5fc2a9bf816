"""A command's parameters: where they come from, and what is held against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from blocks.errors import MessageRefused
from blocks.validation_faults import describe, dotted
from tasks.ispyb_access.writing.refusals import ids_of
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, squash
from tasks.ispyb_access.writing.rows.row_parameters import RowParameters

# File names may have a $ in them; Zocalo doesn't look into these three either
LITERAL_KEYS: Final = frozenset(map(squash, ("file_name", "file_path", "importance_rank")))

Model = TypeVar("Model", bound=CommandParameters)


def look_up(environment: Mapping[str, Any], *places: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's parameters, with `$name` filled in.

    `${name}` and `$name` are replaced from the environment, longest names first; unknown ones stay.

    Parameters
    ----------
    environment
        That of the message.
    places
        Where the parameters stand: what an earlier place says wins.
    """
    found: dict[str, Any] = {}
    for place in reversed(places):
        found.update(place)
    for key, value in found.items():
        if type(value) is str and "$" in value and squash(key) not in LITERAL_KEYS:
            found[key] = _fill(value, environment)
    return found


def _fill(value: str, environment: Mapping[str, Any]) -> str:
    # The longest first: `$dcid_group` isn't `$dcid` with something behind it.
    for name in sorted(environment, key=len, reverse=True):
        for placeholder in (f"${{{name}}}", f"${name}"):
            value = value.replace(placeholder, str(environment[name]))
    return value


def read_command_parameters(name: str, model: type[Model], values: Mapping[str, Any]) -> Model:
    """Read a command's parameters.

    Raises
    ------
    MessageRefused
        Some are missing or wrong; the message names each.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        reasons = describe(error, place=lambda location: dotted(location) + _column(model, location[0]))
        raise MessageRefused(f"{name}{_ids(model, values, faults)} can't use the message: {reasons}") from None


def _ids(model: type[CommandParameters], values: Mapping[str, Any], faults: Sequence[ErrorDetails]) -> str:
    """Name the rows that a refused message is about, as far as it's right about them."""
    wrong = {fault["loc"][0] for fault in faults if fault["loc"]}
    known = {field.alias or name for name, field in model.model_fields.items()} - wrong
    given = model.respelt(values).items()
    return ids_of((name, value) for name, value in given if name in known and isinstance(value, int | str))


def _column(model: type[CommandParameters], name: str | int) -> str:
    """Name the column that a parameter is for, if it's one of a row, in brackets."""
    columns = model.columns() if issubclass(model, RowParameters) else {}
    return f" ({columns[name]})" if isinstance(name, str) and name in columns else ""
