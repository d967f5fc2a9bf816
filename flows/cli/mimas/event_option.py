"""The option `--event E` of commands that ask what would run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flows.mimas.scenario import Event

NAMES = ("start", "end", "start-group", "end-group")

EventName = Annotated[
    str | None,
    typer.Option(
        "--event", metavar="|".join(NAMES), help="At this event only, in any case; unset: at each.", show_default=False
    ),
]


def events_of(name: str | None) -> tuple[Event, ...]:
    """Return the events that an option names.

    Raises
    ------
    typer.BadParameter
        There is no such event.
    """
    from flows.mimas.scenario import Event

    if name is None:
        return tuple(Event(value) for value in NAMES)
    plain = name.strip().lower().replace("_", "-")
    if plain not in NAMES:
        raise typer.BadParameter(f"expected one of {', '.join(NAMES)}, seen {name!r:.60}", param_hint="--event")
    return (Event(plain),)
