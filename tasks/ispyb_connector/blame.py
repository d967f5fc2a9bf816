"""Whose fault it is that a message can't be used: its own, or its node's."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import DBAPIError

from blocks.errors import MessageRefused, NodeRefused, causes_of
from tasks.ispyb_access.writing.commands.image_quality import KEY, PerImageResult
from tasks.ispyb_access.writing.refusals import column_at_fault
from tasks.ispyb_access.writing.rows.command_parameters import Identity, squash

UNFILLED: Final = re.compile(r"\{[^{}]*\}")
DCID: Final = "dcid"
IDENTITY: Final[TypeAdapter[int]] = TypeAdapter(Identity)


def blame(error: MessageRefused, payload: Mapping[str, Any], recipe_parameters: Mapping[str, Any]) -> MessageRefused:
    """Return the refusal of a message as its node's where it's for a placeholder that nothing has filled there.

    No message can be used then that doesn't bring the parameter itself: one dead letter says so for all.
    """
    brought = {squash(name) for name in payload}
    unfilled = {
        value
        for name, value in recipe_parameters.items()
        if isinstance(value, str) and UNFILLED.fullmatch(value) and squash(name) not in brought
    }
    return NodeRefused(str(error)) if any(value in str(error) for value in unfilled) else error


def is_misnamed(payload: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Tell whether a message's data collection is that of the node, and can't be one: no message can be used."""
    given = _dcid_of(node)
    if given is None or DCID in PerImageResult.respelt(payload):
        return False
    try:
        IDENTITY.validate_python(given)
    except ValidationError:
        return True
    return False


def is_unknown(error: Exception, results: Iterable[PerImageResult], node: Mapping[str, Any]) -> bool:
    """Tell whether the database refuses the data collection, and that is the node's: it would for each message."""
    columns = {column_at_fault(cause) for cause in causes_of(error) if isinstance(cause, DBAPIError)}
    return columns == {KEY[0]} and {str(result.dcid) for result in results} == {str(_dcid_of(node))}


def _dcid_of(node: Mapping[str, Any]) -> Any:
    """Return the data collection that the node's parameters name for all messages; None if they name none."""
    given = PerImageResult.respelt(node.get("parameters") or {}).get(DCID)
    return None if "$" in str(given) else given  # from each message's environment
