"""What code of a site's raised, and where in it, in a line."""

from __future__ import annotations

from pathlib import Path
from traceback import walk_tb
from typing import Final

from flows.display_text import one_line, shortened

SHOWN_CHARACTERS: Final = 400  # of its message

# Through these a rule or a module of rules is called
_CALLERS: Final = ("flows.mimas.decision", "flows.mimas.predicates", "flows.mimas.rules.discovery")
# The last one takes the place of Python's own where a package imports it
_IMPORTERS: Final = frozenset({"importlib", "_frozen_importlib", "importlib_metadata"})


def raised(error: BaseException) -> str:
    """Say what was raised, and by which line of the site's: `raised KeyError: 'dose' (i99_rules.py, line 17)`."""
    message = one_line(shortened(str(error), SHOWN_CHARACTERS))
    return f"raised {type(error).__name__}{f': {message}' if message else ''}{_place(error)}"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):  # says it itself
        return ""
    for frame, line in walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module not in _CALLERS and module.partition(".")[0] not in _IMPORTERS:
            return f" ({Path(frame.f_code.co_filename).name}, line {line})"
    return ""
