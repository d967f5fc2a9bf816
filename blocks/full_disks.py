"""Disks that take nothing more, for now: somebody makes room, or raises the quota."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from blocks.errors import causes_of
from blocks.retrying import Pauses, first_only, retry

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
PATIENCE_S: Final = 3600.0
"""After an hour somebody's attention is needed, and who waits gives up with the disk's own words."""
_PAUSES: Final = Pauses(first_s=1.0, longest_s=10.0)


def is_full(error: BaseException) -> bool:
    """Tell whether an error, or what it comes from, is that of a disk that takes nothing more."""
    return _has_errno(error, FULL_ERRNOS)


def _may_pass(error: Exception) -> bool:
    # The home, which is what is written here, is read-only while somebody mends its file system; a visit's folder, once
    # it's read-only, stays so
    return _has_errno(error, FULL_ERRNOS | {errno.EROFS})


def _has_errno(error: BaseException, errnos: Collection[int]) -> bool:
    return any(isinstance(cause, OSError) and cause.errno in errnos for cause in causes_of(error))


async def when_there_is_room(write: Callable[[], Result], patience_s: float = PATIENCE_S) -> Result:
    """Do what writes to the home folder, and again for as long as its disk is full; said once.

    Raises
    ------
    OSError
        Another fault, or it's full for longer than there's patience.
    """

    def warn(fault: BaseException, _pause_s: float) -> None:
        logger.warning("waiting for room on the disk: %s", fault)

    async def once() -> Result:
        return write()

    return await retry(once, _may_pass, _PAUSES, patience_s=patience_s, tell=first_only(warn))
