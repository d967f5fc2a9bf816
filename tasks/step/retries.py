"""Which faults may pass, how often a message is tried again, and how long to wait in between."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from blocks.errors import PassingFault
from blocks.retrying import Pauses

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
    tries: int = 5  # within some 15 s (1, 2, 4, 8, less by chance); Zocalo's broker has 6, and no pause
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0

    @property
    def pauses(self) -> Pauses:
        """The waits between tries."""
        return Pauses(self.first_pause_s, self.longest_pause_s)

    def may_pass(self, error: BaseException) -> bool:
        """Tell whether the same message may succeed later."""
        if isinstance(error, (*PASSING_FAULTS, *self.on)):
            return True
        return isinstance(error, OSError) and error.errno in PASSING_ERRNOS

    def pause_s(self, failures: int) -> float:
        """Return how long to wait after so many failures, in seconds."""
        return self.pauses.after(failures)


USUAL_RETRIES: Final = Retries()
