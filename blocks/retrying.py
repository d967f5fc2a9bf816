"""Try again what failed for a reason that may pass: tenacity, with pauses that double and differ, and a limit.

For those who wait within a function. A recipe run's messages wait outside of their step: see `tasks.step.retries`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")
Faults = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
Tell = Callable[[BaseException, float], None]

_DOUBLINGS = 64  # more would be too many for a float, long after the longest pause is reached


@dataclass(frozen=True)
class Pauses:
    """Waits between tries, in seconds: doubling from the first to the longest, less up to a half by chance.

    The chance spreads those that failed together, for instance when a server went away.
    """

    first_s: float
    longest_s: float

    def after(self, failures: int) -> float:
        """Return how long to wait after so many failures, in seconds."""
        doublings = min(failures - 1, _DOUBLINGS)
        return min(self.first_s * 2.0**doublings, self.longest_s) * random.uniform(0.5, 1.0)


def first_only(tell: Tell) -> Tell:
    """Return what tells of the first failure only, for waits that last."""
    has_told = False

    def tell_first(fault: BaseException, pause_s: float) -> None:
        nonlocal has_told
        if not has_told:
            has_told = True
            tell(fault, pause_s)

    return tell_first


async def retry(
    work: Callable[[], Awaitable[Result]],
    on: Faults,
    pauses: Pauses,
    *,
    patience_s: float = math.inf,
    tries: int | None = None,
    tell: Tell | None = None,
) -> Result:
    """Do some work, and again from its start while it fails with faults that may pass; cancelled, it ends at once.

    Parameters
    ----------
    on
        Types of faults that may pass, or what tells whether one may.
    pauses
        Waits between tries.
    patience_s
        No try begins later than so many seconds after the first.
    tries
        How often it's tried in all; None: as often as patience allows.
    tell
        Called before each pause with the fault and the pause in seconds.

    Raises
    ------
    Exception
        What the work raised: a fault that won't pass, or the last one.
    """
    from tenacity import AsyncRetrying

    async def once() -> Result:
        return await work()

    return await AsyncRetrying(**_options(on, pauses, patience_s, tries, tell))(once)


def retry_blocking(
    work: Callable[[], Result],
    on: Faults,
    pauses: Pauses,
    *,
    patience_s: float = math.inf,
    tries: int | None = None,
    tell: Tell | None = None,
) -> Result:
    """Do as `retry` does, in a thread that may wait."""
    from tenacity import Retrying

    return Retrying(**_options(on, pauses, patience_s, tries, tell))(work)


def _options(on: Faults, pauses: Pauses, patience_s: float, tries: int | None, tell: Tell | None) -> dict[str, Any]:
    # Here, as tenacity takes 25 ms to import (it brings tornado), and most commands try nothing again
    from tenacity import retry_if_exception, stop_after_attempt, stop_any, stop_before_delay, stop_never

    def before_sleep(state: RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        if tell is not None and fault is not None:
            tell(fault, state.upcoming_sleep)

    def may_pass(fault: BaseException) -> bool:
        if not isinstance(fault, Exception):  # to be cancelled is no fault
            return False
        return isinstance(fault, on) if isinstance(on, type | tuple) else on(fault)

    return {
        "retry": retry_if_exception(may_pass),
        "wait": lambda state: pauses.after(state.attempt_number),
        "stop": stop_any(stop_before_delay(patience_s), stop_never if tries is None else stop_after_attempt(tries)),
        "before_sleep": before_sleep,
        # Else it's tenacity's RetryError, and callers catch the fault itself.
        "reraise": True,
    }
