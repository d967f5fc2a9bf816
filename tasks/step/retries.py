"""Which faults may pass, how often a message is tried again, and how long to wait in between."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import Final

from blocks.errors import PassingFault, PlazaError, causes_of
from blocks.full_disks import FULL_ERRNOS, is_full
from blocks.retrying import Pauses

PASSING_FAULTS: tuple[type[Exception], ...] = (PassingFault, ConnectionError, TimeoutError)

# A file system or network that is busy, slow, full or gone for a moment; a file that isn't there is none of these
PASSING_ERRNOS = FULL_ERRNOS | frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
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
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)

# What HDF5 and other native code make of a fault of the system: its words, in an error without its number
_PASSING_WORDS = re.compile("|".join(re.escape(os.strerror(number)) for number in PASSING_ERRNOS), re.IGNORECASE)
_ERRORS_OF_NATIVE_CODE = (OSError, RuntimeError, LookupError, ValueError)

_TRIES_ON_A_FULL_DISK: Final = 60
"""Within some 50 minutes: until somebody has made room. Each message would be a dead letter else, kept on that disk."""


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

    def goes_on(self, error: BaseException, failures: int) -> bool:
        """Tell whether a message is tried once more after so many failures."""
        tries = max(self.tries, _TRIES_ON_A_FULL_DISK) if is_full(error) else self.tries
        return failures < tries and self.may_pass(error)

    def may_pass(self, error: BaseException) -> bool:
        """Tell whether the same message may succeed later: as the error says, or what it comes from.

        An error of Plaza's own is a verdict: it says itself whether it may pass.
        """
        for cause in causes_of(error):
            if isinstance(cause, (*PASSING_FAULTS, *self.on)):
                return True
            if isinstance(cause, PlazaError):
                return False
            if _is_passing_fault_of_the_system(cause):
                return True
        return False

    def pause_s(self, failures: int) -> float:
        """Return how long to wait after so many failures, in seconds."""
        return self.pauses.after(failures)


def _is_passing_fault_of_the_system(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in PASSING_ERRNOS
    return isinstance(error, _ERRORS_OF_NATIVE_CODE) and bool(_PASSING_WORDS.search(str(error)))


USUAL_RETRIES: Final = Retries()
