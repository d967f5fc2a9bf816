"""What code of a site's raised, and where in it, in a line."""

from __future__ import annotations

import sys
from pathlib import Path
from traceback import walk_tb
from typing import Final

from pydantic import ValidationError

from blocks.validation_faults import Location, describe, dotted
from flows.display_text import one_line, shortened

SHOWN_CHARACTERS: Final = 400  # of its message

# Through these a rule or a module of rules is called
_CALLERS: Final = (
    *("flows.mimas.decision", "flows.mimas.predicates"),
    *("flows.mimas.rules.discovery", "flows.mimas.rules.rule_set"),
)
# The second one takes the place of the first where a package imports it
_IMPORTERS: Final = {"importlib", "importlib_metadata", "_frozen_importlib"}


def is_interruption(error: BaseException) -> bool:
    """Tell whether an exception ends the process, whatever it was doing: Ctrl-C, or a signal that Prefect handles."""
    prefect = sys.modules.get("prefect.exceptions")  # only there can it be raised; a second to import
    return isinstance(error, KeyboardInterrupt) or (prefect is not None and isinstance(error, prefect.ExternalSignal))


def raised(error: BaseException) -> str:
    """Say what was raised, and by which line of the site's: `raised KeyError: 'dose' (i99_rules.py, line 17)`."""
    message = one_line(shortened(_message(error), SHOWN_CHARACTERS))
    return f"raised {type(error).__name__}{f': {message}' if message else ''}{_place(error)}"


def _message(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return f"{error.title}: {describe(error, place=_argument)}"
    try:
        return str(error)
    except Exception:  # of a site's class of exceptions
        return ""


def _argument(location: Location) -> str:
    first, *rest = location  # one that was given by its place is a number
    return dotted((f"argument {first + 1}" if isinstance(first, int) else first, *rest))


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):  # says it itself
        return ""
    for frame, line in walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module not in _CALLERS and module.partition(".")[0] not in _IMPORTERS:
            return f" ({Path(frame.f_code.co_filename).name}, line {line})"
    return ""
