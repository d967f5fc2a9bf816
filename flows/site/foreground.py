"""Stay for as long as the site runs: what systemd, a container or a terminal expects of a service."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
from collections.abc import Callable

from blocks.errors import PlazaError
from blocks.settings import Settings, get_settings
from flows.site.readiness import StoppedMeanwhile
from flows.site.services import down
from flows.site.supervision import ServiceFailed, Supervisor
from flows.site.wanted import is_wanted

logger = logging.getLogger(__name__)

_ENDINGS = (signal.SIGTERM, signal.SIGINT)


class SupervisorDied(PlazaError):
    """The site's supervisord ended without `plaza down`."""


class _Asked(BaseException):
    """Somebody has asked this process to end."""


def _ask(_number: int, _frame: object) -> None:
    raise _Asked


def stay(start: Callable[[], None], settings: Settings | None = None) -> None:
    """Start the site and stay until it's stopped by `plaza down`, or stop it at SIGTERM or SIGINT, however far it is.

    Parameters
    ----------
    start
        Starts it, or finds that it runs.

    Raises
    ------
    SupervisorDied
        Its supervisord ended otherwise: whoever started this process should do so again.
    """
    settings = settings or get_settings()
    supervisor = Supervisor(settings.home.resolve())
    before = {number: signal.signal(number, _ask) for number in _ENDINGS}
    try:
        start()
        _wait_for_end(supervisor)
    except StoppedMeanwhile as error:  # in order, as if it had been up
        logger.warning("%s", error)
    except _Asked:
        for number in _ENDINGS:  # once asked, it's stopped in order, however often it's asked again
            signal.signal(number, signal.SIG_IGN)
        down(settings)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_end(supervisor: Supervisor) -> None:
    process = supervisor.process
    if process is None:
        raise ServiceFailed(f"no supervisord runs in {supervisor.home}")
    try:
        ended = os.pidfd_open(process.pid)
    except ProcessLookupError:
        ended = None
    if ended is not None:
        tell_systemd("READY=1")
        select.select([ended], [], [])  # readable once the process has ended; it needn't be a child of this one
        os.close(ended)
    if supervisor.has_died or is_wanted(supervisor.home):
        how = "has died" if supervisor.has_died else "was told to end, not by `plaza down`"
        raise SupervisorDied(
            f"supervisord, process {process.pid}, {how}, and its services end: `plaza up` starts the site again. "
            f"Its log is {supervisor.home / 'logs' / 'supervisord.log'}"
        )


def tell_systemd(what: str) -> None:
    """Tell systemd how the service gets on, if it has asked for that: its protocol, sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # of Linux's own name space, without a file
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.sendto(what.encode(), address)
