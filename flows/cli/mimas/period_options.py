"""The options `--since` and `--until`: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer

FORMS: Final = "2026-11-28, 2026-11-28T09:30, 7d, 24h or 30m"
UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")

Since = Annotated[
    str,
    typer.Option(metavar="WHEN", help=f"Collections that started then or later: {FORMS} (ago).", show_default=False),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="Collections that started before then; unset: till now.", show_default=False),
]


def moment_of(text: str, option: str, now: datetime) -> datetime:
    """Return the local time that an option means.

    Raises
    ------
    typer.BadParameter
        It's none.
    """
    plain = text.strip()
    try:
        if ago := _AGO.fullmatch(plain):
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(plain)
        return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError) as error:  # the latter: before the year 1
        raise typer.BadParameter(
            f"expected a date, a time or how long ago, as in {FORMS}; seen {text!r:.60}", param_hint=option
        ) from error
