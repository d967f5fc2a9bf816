"""Which faults may pass, how often a message is tried again, and how long to wait in between."""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass
from typing import Final

from blocks.errors import PassingFault

PASSING_FAULTS: tuple[type[Exception], ...] = (PassingFault, ConnectionError, TimeoutError)

# A file system or network that is busy, slow, full or gone for a moment; a file that isn't there is none of these
PASSING_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOLCK,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)

_DOUBLINGS = 64  # more would be too many for a float, long after the longest pause is reached


@dataclass(frozen=True)
class Retries:
    """How a step's messages are tried again; part of the step.

    Parameters
    ----------
    on
        Exceptions that may pass, beside those that may in any step.
    tries
        How often a message is tried in all before it goes to the dead letters.
    first_pause_s, longest_pause_s
        Pauses double from one to the other.
    """

    on: tuple[type[Exception], ...] = ()
    tries: int = 5
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def may_pass(self, error: BaseException) -> bool:
        """Tell whether the same message may succeed later."""
        if isinstance(error, (*PASSING_FAULTS, *self.on)):
            return True
        return isinstance(error, OSError) and error.errno in PASSING_ERRNOS

    def pause_s(self, failures: int) -> float:
        """Return how long to wait after so many failures: doubling, less up to a half by chance.

        The chance spreads the messages that failed together, for instance when a server went away.
        """
        doublings = min(failures - 1, _DOUBLINGS)
        pause = min(self.first_pause_s * 2**doublings, self.longest_pause_s)
        return pause * random.uniform(0.5, 1.0)


USUAL_RETRIES: Final = Retries()
