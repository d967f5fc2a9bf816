"""Whose fault it is that a message can't be used: its own, or its node's."""

import re
from collections.abc import Mapping
from typing import Any, Final

from blocks.errors import MessageRefused, NodeRefused
from tasks.ispyb_access.writing.rows.command_parameters import squash

UNFILLED: Final = re.compile(r"\{[^{}]*\}")


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
