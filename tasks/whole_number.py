"""Whole numbers as messages and recipes bring them: as numbers, or as texts of digits."""

from __future__ import annotations

import re
from typing import Any, Final

LARGEST: Final = 2**63 - 1
"""More than there is of anything; beyond it, databases and JSON of 64 bits can't take a number."""

# Not what `int` reads: `1_000`, other scripts' digits, and texts so long that it computes for minutes
_DIGITS = re.compile(r"[-+]?[0-9]{1,19}")


def whole_number(value: Any) -> int | None:
    """Return a whole number of 64 bits; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        value = int(value) if abs(value) < LARGEST and value.is_integer() else None
    elif isinstance(value, str):
        digits = value.strip()
        value = int(digits) if _DIGITS.fullmatch(digits) else None
    return value if isinstance(value, int) and abs(value) <= LARGEST else None
