"""An ASGI application around Prefect's that lets in who has the site's secret.

Prefect's own PREFECT_SERVER_API_AUTH_STRING isn't used: its UI would ask for the secret and keep it in the browser, and
it knows neither foreign names nor foreign pages.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import parse_qs

from flows.site.api_server.api_guard.answers import App, Message, Receive, Scope, Send, close, redirect, refuse
from flows.site.api_server.api_guard.bodies import MOST_BYTES, BodyRefused, Use, checked, use_of
from flows.site.api_server.api_guard.credentials import Credentials, RefusalLog
from flows.site.api_server.api_guard.hosts import KnownHosts, is_own_origin

_OPEN = frozenset(
    {
        *("/api/health", "/api/ready"),  # they say nothing but true; Prefect leaves them open, too
        *("/ico/site.webmanifest", "/v2/ico/site.webmanifest", "/robots.txt"),  # browsers send no cookie for these
    }
)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({b"same-origin", b"none"})  # none: typed by a person, or from a bookmark
_HANDSHAKE_S = 10.0
_BODY_S = 60.0
_WAY_IN = (
    "Plaza's Prefect server asks for the site's secret. In a browser: open the link that `plaza status` prints on the "
    "site's machine. Programs: send the secret in a header (docs/how-to/other-users-and-hosts.md)."
)


class ApiGuard:
    """Prefect's application behind the site's secret.

    Parameters
    ----------
    app
        Prefect's.
    credentials
        What is accepted as the secret.
    hosts
        The names by which the server may be asked for.
    """

    def __init__(self, app: App, credentials: Credentials, hosts: KnownHosts) -> None:
        self._app = app
        self._credentials = credentials
        self._hosts = hosts
        self._wrong_secrets = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have Prefect answer it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = _Headers(scope)
        host = headers.host
        if host is None or not self._hosts.know(host):
            reason = f"this server isn't known as {(host or '')[:80]!r}: names to be trusted are PLAZA_TRUSTED_HOSTS"
            await refuse(scope, receive, send, HTTPStatus.MISDIRECTED_REQUEST, reason)
        elif headers.may_change(scope) and headers.is_foreign(scope, host):
            reason = "pages of other sites may neither change anything here nor listen"
            await refuse(scope, receive, send, HTTPStatus.FORBIDDEN, reason)
        elif "\0" in scope["path"] or b"%00" in scope.get("query_string", b""):
            reason = "the address holds a NUL character, which no name has"
            await refuse(scope, receive, send, HTTPStatus.BAD_REQUEST, reason)
        elif scope["type"] == "websocket":
            await self._web_socket(scope, receive, send, headers, host)
        elif scope["path"] in _OPEN and scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
        elif scope["path"] == "/login":
            await self._log_in(scope, receive, send)
        elif not self._has_secret(scope, headers, host):
            await refuse(scope, receive, send, HTTPStatus.UNAUTHORIZED, _WAY_IN)
        elif scope["method"] in _SAFE_METHODS:
            await self._app(scope, receive, send)
        else:
            await self._with_body(scope, receive, send, headers)

    def _has_secret(self, scope: Scope, headers: _Headers, host: str) -> bool:
        if headers.authorization is not None:
            if self._credentials.accept_header(headers.authorization):
                return True
            self._wrong_secrets.add(_peer(scope))
        if headers.cookie is None or (headers.is_foreign(scope, host) and not headers.opens_page(scope)):
            return False  # browsers send cookies with whatever any page asks for
        return self._credentials.accept_cookie(headers.cookie)

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        tokens = parse_qs(scope["query_string"].decode("latin1")).get("token", [])
        if scope["method"] == "GET" and len(tokens) == 1 and self._credentials.accept_link(tokens[0]):
            await redirect(send, "/", self._credentials.cookie(secure=scope["scheme"] == "https"))
            return
        if tokens:
            self._wrong_secrets.add(_peer(scope))
        await refuse(scope, receive, send, HTTPStatus.UNAUTHORIZED, _WAY_IN)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send, headers: _Headers) -> None:
        try:
            async with asyncio.timeout(_BODY_S):
                body = await _read(receive, headers.content_length)
            if body is None:  # the client has gone
                return
            passed = checked(body, use_of(scope["path"]))
        except TimeoutError:
            reason = f"the request's body didn't come within {_BODY_S:.0f} s"
            await refuse(scope, receive, send, HTTPStatus.REQUEST_TIMEOUT, reason)
        except _TooLarge:
            reason = f"the request's body has more than {MOST_BYTES} bytes"
            await refuse(scope, receive, send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        except BodyRefused as fault:
            reason = f"the request's body can't be kept by Prefect: {fault}"
            await refuse(scope, receive, send, HTTPStatus.UNPROCESSABLE_ENTITY, reason)
        else:
            if passed is not body:
                length = (b"content-length", str(len(passed)).encode())
                others = [each for each in scope["headers"] if each[0] not in {b"content-length", b"transfer-encoding"}]
                scope = {**scope, "headers": [*others, length]}
            await self._app(scope, _replay(passed, receive), send)

    async def _web_socket(self, scope: Scope, receive: Receive, send: Send, headers: _Headers, host: str) -> None:
        is_known = self._has_secret(scope, headers, host)
        if not is_known and "prefect" not in scope.get("subprotocols", ()):
            await refuse(scope, receive, send, HTTPStatus.UNAUTHORIZED, "the site's secret is asked for")
            return

        async def checked_receive() -> Message:
            nonlocal is_known
            if is_known:
                return await self._clean_message(receive)
            message = await self._first_message(receive)
            if message["type"] == "websocket.connect":
                return message
            if message["type"] == "websocket.receive":
                if self._credentials.accept_message(message.get("text")):
                    is_known = True
                    return message
                self._wrong_secrets.add(_peer(scope))
            await close(send, "Invalid token")
            return {"type": "websocket.disconnect", "code": 1008}

        await self._app(scope, checked_receive, send)

    @staticmethod
    async def _first_message(receive: Receive) -> Message:
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                return await receive()
        except TimeoutError:
            return {"type": "websocket.late"}

    @staticmethod
    async def _clean_message(receive: Receive) -> Message:
        while True:
            message = await receive()
            text = message.get("text")
            if message["type"] != "websocket.receive" or text is None:
                return message
            try:
                return {**message, "text": checked(text.encode(errors="replace"), Use.REPORTED).decode()}
            except BodyRefused:  # no JSON: Prefect would end the connection, and lose the events that come after it
                continue


class _TooLarge(Exception):
    pass


class _Headers:
    """What the guard looks at of a request's headers; picked in one pass, since every request pays for it."""

    __slots__ = ("_content_length", "_fetch_dest", "_fetch_site", "_origin", "authorization", "cookie", "host")

    def __init__(self, scope: Scope) -> None:
        found: dict[bytes, bytes] = {}
        hosts = 0
        for name, value in scope["headers"]:
            hosts += name == b"host"
            found[name] = value
        self.host = found[b"host"].decode("latin1") if hosts == 1 else None
        self.authorization = found.get(b"authorization")
        self.cookie = found.get(b"cookie")
        self._content_length = found.get(b"content-length", b"")
        self._origin = found.get(b"origin")
        self._fetch_site = found.get(b"sec-fetch-site")
        self._fetch_dest = found.get(b"sec-fetch-dest")

    @property
    def content_length(self) -> int:
        """How many bytes are announced; 0 if it isn't said."""
        return int(self._content_length) if self._content_length.isdigit() else 0

    @staticmethod
    def may_change(scope: Scope) -> bool:
        """Tell whether a request may change something, or listen."""
        return scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS

    def is_foreign(self, scope: Scope, host: str) -> bool:
        """Tell whether a browser says that a page of another site asks."""
        if self._fetch_site is not None and self._fetch_site not in _OWN_SITES:
            return True
        return self._origin is not None and not is_own_origin(self._origin.decode("latin1"), host, scope["scheme"])

    def opens_page(self, scope: Scope) -> bool:
        """Tell whether a person followed a link: nothing of the answer goes to the page that it stood on."""
        return scope["type"] == "http" and scope["method"] in _SAFE_METHODS and self._fetch_dest == b"document"


async def _read(receive: Receive, announced: int) -> bytes | None:
    if announced > MOST_BYTES:
        raise _TooLarge
    message = await receive()
    parts = [message.get("body", b"")]
    size = len(parts[0])
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise _TooLarge
    return b"".join(parts) if message["type"] == "http.request" else None


def _replay(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def next_message() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "an unknown address"
