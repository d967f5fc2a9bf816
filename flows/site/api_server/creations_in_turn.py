"""Let the API's server create runs for those outside one after the other, however many ask at once.

Prefect's server is one process that works on all requests alternately: with two hundred events at once, each request of
the worker and of the runs that are under way took as long as all of these together, 5 to 10 s, and a run makes dozens.
Creating them in turn takes no longer, as the server is busy all the time, and leaves room between them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

AT_ONCE: Final = 1  # the server computes for nine tenths of the time that a creation takes: two would save little

_CREATION: Final = re.compile(r"/deployments/[^/]+/create_flow_run/?$")
_OF_A_WORKER: Final = b"x-prefect-worker-id"
"""Header of requests that a worker and its runs make, which don't wait: Mimas launches recipes by the same path."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class CreationsInTurn:
    """An ASGI application before another one.

    Parameters
    ----------
    app
        Prefect's.
    at_once
        How many runs are created at once.
    """

    def __init__(self, app: App, at_once: int = AT_ONCE) -> None:
        self._app = app
        self._turns = asyncio.Semaphore(at_once)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if not _is_creation_from_outside(scope):
            await self._app(scope, receive, send)
            return
        received = await _receive_all(receive)  # first: who sends slowly, or not at all, keeps nobody waiting
        has_gone = asyncio.ensure_future(receive())  # after the body, nothing else can come

        async def again() -> Message:
            return received.pop(0) if received else await asyncio.shield(has_gone)

        try:
            async with self._turns:
                if not has_gone.done():  # a client that has given up asks again: there would be two runs
                    await self._app(scope, again, send)
        finally:
            has_gone.cancel()


def _is_creation_from_outside(scope: Message) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST" or _CREATION.search(scope["path"]) is None:
        return False
    return all(name.lower() != _OF_A_WORKER for name, _ in scope["headers"])


async def _receive_all(receive: Receive) -> list[Message]:
    """Receive a request's body, or that its sender has gone away."""
    received = [await receive()]
    while received[-1].get("more_body"):
        received.append(await receive())
    return received
