"""The guard's own answers, as ASGI's messages."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008  # of a web socket; before it's open, the server says 403
_COMMON = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


async def refuse(scope: Scope, receive: Receive, send: Send, status: HTTPStatus, reason: str) -> None:
    """Answer with a line that says why: JSON to the API's clients, as Prefect does, else text."""
    if scope["type"] == "websocket":
        await receive()  # its request to connect
        await close(send, reason)
    elif scope["path"].startswith("/api"):
        content = json.dumps({"exception_message": f"{status.phrase}: {reason}", "detail": reason}).encode()
        await _answer(send, status, content, ((b"content-type", b"application/json"),))
    else:
        await _answer(send, status, f"{reason}\n".encode(), ((b"content-type", b"text/plain; charset=utf-8"),))


async def close(send: Send, reason: str) -> None:
    """Close a web socket."""
    await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason[:120]})  # it takes 123 bytes


async def redirect(send: Send, location: str, cookie: str) -> None:
    """Send a browser on, with a cookie, and without telling anybody where it comes from."""
    headers = ((b"location", location.encode()), (b"set-cookie", cookie.encode()), (b"referrer-policy", b"no-referrer"))
    await _answer(send, HTTPStatus.SEE_OTHER, b"", headers)


async def _answer(send: Send, status: HTTPStatus, content: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(content)).encode())
    await send({"type": "http.response.start", "status": status.value, "headers": [*_COMMON, *headers, length]})
    await send({"type": "http.response.body", "body": content})
