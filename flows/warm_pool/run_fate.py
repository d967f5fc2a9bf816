"""What is to become of a flow run that the worker finds in the API: a decision by its state and its process."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

SETTLING_S: Final = 5.0
"""How long a run that is about to begin is left alone: whoever took it may be forking it."""


class Fate(Enum):
    """What the worker does about a run."""

    LEFT = auto()  # it's well, or somebody else's
    ADOPTED = auto()  # its process is watched: ended when that is asked for, reported when it dies
    STOPPED = auto()  # its process is ended, its state stays
    CRASHED = auto()  # reported: its process is gone, whatever it had begun
    CANCELLED = auto()  # reported: nothing is left to be ended
    TAKEN_AGAIN = auto()  # scheduled anew: nothing of it has run


def fate_of(state: State, *, has_process: bool, is_watched: bool, age_s: float) -> Fate:
    """Decide what becomes of a run.

    Parameters
    ----------
    state
        Its state, as the API knows it.
    has_process
        Whether a process of this site has it.
    is_watched
        Whether this worker has taken it, or has adopted it.
    age_s
        How long it has been in its state, in seconds.
    """
    if state.is_paused():
        return _fate_of_paused(state, has_process, is_watched)
    if is_watched or state.is_final() or state.is_scheduled():
        return Fate.LEFT
    if has_process:
        return Fate.ADOPTED
    if state.is_cancelling():
        return Fate.CANCELLED
    if state.is_running():
        return Fate.CRASHED
    return Fate.TAKEN_AGAIN if age_s >= SETTLING_S else Fate.LEFT


def _fate_of_paused(state: State, has_process: bool, is_watched: bool) -> Fate:
    if state.state_details.pause_reschedule:  # Suspended: no process waits, and whoever resumes it has it started anew
        return Fate.STOPPED if has_process else Fate.LEFT
    if is_watched:  # Paused: the flow's own process waits
        return Fate.LEFT
    return Fate.ADOPTED if has_process else Fate.CRASHED
