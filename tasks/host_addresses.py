"""Addresses of hosts, asked for beside the work that needs them: a name server may be slow, or away.

Nobody waits for it but the first, and that one not for long. An address that was found is used until there's another.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

ADDRESS_S: Final = 60.0
"""For how long an address isn't asked for again."""

FAILURE_S: Final = 5.0
"""After which a look-up that has failed is tried again."""

LONGEST_WAIT_S: Final = 2.0
"""For the first answer."""

Address = tuple[int, Any]
"""A family of sockets, and what these need to reach a host's port."""


class HostAddresses:
    """Finds and remembers the addresses of UDP ports.

    Parameters
    ----------
    clock
        Seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, int], _KnownPort] = {}

    async def find(self, host: str, port: int) -> Address:
        """Return a port's address: the last one that was found, whatever has become of the name server.

        Raises
        ------
        OSError
            None was ever found: how the last look-up failed, or that there's no answer yet (`socket.gaierror`).
        UnicodeError
            It's no name of a host.
        """
        known = self._known.setdefault((host, port), _KnownPort(host, port, self._clock))
        known.ask_if_due()
        if known.address is None and known.error is None:
            await known.wait()
        if known.address is not None:
            return known.address
        assert known.error is not None
        raise known.error.with_traceback(None)


class _KnownPort:
    """What is known of a port's address; `error`: how the last look-up failed, before there was any address."""

    def __init__(self, host: str, port: int, clock: Callable[[], float]) -> None:
        self._host, self._port, self._clock = host, port, clock
        self._due = -float("inf")
        self._thread: threading.Thread | None = None
        self._answered: Future[None] = Future()
        self.address: Address | None = None
        self.error: Exception | None = None

    def ask_if_due(self) -> None:
        """Start a look-up if there's none under way and the last one is old enough."""
        if self._clock() < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._asked = self._clock()
        self._answered = Future()
        self._answered.set_running_or_notify_cancel()  # so that who no longer waits can't cancel it for the others
        # As a daemon: a look-up may take half a minute, and nobody is to wait for it at the end.
        self._thread = threading.Thread(target=self._ask, args=(self._answered,), daemon=True)
        self._thread.start()

    async def wait(self) -> None:
        """Wait for the first answer, but not for long: then it's an error that there's none."""
        left_s = max(0.0, self._asked + LONGEST_WAIT_S - self._clock())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self._answered), left_s)
        if self.address is None and self.error is None:
            self.error = socket.gaierror(socket.EAI_AGAIN, f"no name server has answered within {LONGEST_WAIT_S:g} s")

    def _ask(self, answered: Future[None]) -> None:
        try:
            family, _, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
        except Exception as error:  # UnicodeError too, for those who ask
            self.error = error
            self._due = self._clock() + FAILURE_S
        else:
            self.address = family, address
            self._due = self._clock() + ADDRESS_S
        answered.set_result(None)
