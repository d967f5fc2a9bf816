"""Who gets past the guard of Prefect's API, and with what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic_core import from_json
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from flows.site.access.secret import COOKIE, LINK, authorization, derived_token
from flows.site.api_server.api_guard import ApiGuard, Credentials, KnownHosts
from flows.site.api_server.api_guard.bodies import MOST_BYTES, MOST_LEVELS

SECRET = "plaza:s3cret"
OWN = "http://127.0.0.1:4200"
HEADER = {"authorization": authorization(SECRET)}
COOKIE_HEADER = {"cookie": f"theme=dark; plaza-4200={derived_token(SECRET, COOKIE)}"}
JSON = {"content-type": "application/json"}


class Recorder:
    """An application that keeps what gets to it, and answers 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.lengths: list[bytes] = []
        self.messages: list[str] = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            await self._web_socket(receive, send)
            return
        message = await receive()
        self.bodies.append(message.get("body", b""))
        self.lengths.append(dict(scope["headers"]).get(b"content-length", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"passed"})

    async def _web_socket(self, receive, send):
        """As Prefect's: it opens, and waits for the client's messages."""
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": "prefect"})
        while (message := await receive())["type"] == "websocket.receive":
            self.messages.append(message["text"])


@pytest.fixture
def app():
    return Recorder()


@pytest.fixture
def guard(app):
    return ApiGuard(app, Credentials(SECRET, 4200), KnownHosts.of_this_machine("127.0.0.1", ["plaza.example"]))


@pytest.fixture
def ask(guard):
    def ask(method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=OWN) as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(once())

    return ask


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/health", {}, 200),
        ("GET", "/api/ready", {}, 200),
        ("POST", "/api/health", {}, 401),
        # browsers ask for a page's manifest without its cookies
        ("GET", "/ico/site.webmanifest", {}, 200),
        ("GET", "/v2/ico/site.webmanifest", {"sec-fetch-site": "same-origin"}, 200),
        ("GET", "/api/variables/name/site.webmanifest", {}, 401),
        ("GET", "/ico/../api/version", {}, 401),
        ("GET", "/api/health/", {}, 401),
        ("GET", "/api/variables/name/health", {}, 401),
        ("GET", "/api/version", {}, 401),
        ("GET", "/", {}, 401),
        ("GET", "/assets/index.js", {}, 401),
        ("OPTIONS", "/api/flow_runs/filter", {"origin": "http://evil.example"}, 401),
        # the secret in a header
        ("GET", "/api/version", HEADER, 200),
        ("POST", "/api/flow_runs/filter", HEADER, 200),
        ("GET", "/api/version", {"authorization": HEADER["authorization"].replace("Basic", "basic")}, 200),
        ("GET", "/api/version", {"authorization": authorization("plaza:S3cret")}, 401),
        ("GET", "/api/version", {"authorization": "Basic"}, 401),
        ("GET", "/api/version", {"authorization": f"Bearer {SECRET}"}, 401),
        # the cookie, from the UI's own pages
        ("GET", "/", COOKIE_HEADER, 200),
        ("POST", "/api/flow_runs/filter", COOKIE_HEADER | {"origin": OWN, "sec-fetch-site": "same-origin"}, 200),
        ("GET", "/", COOKIE_HEADER | {"sec-fetch-site": "none", "sec-fetch-dest": "document"}, 200),
        ("GET", "/api/version", {"cookie": f"plaza-4200={derived_token(SECRET, LINK)}"}, 401),
        ("GET", "/api/version", {"cookie": COOKIE_HEADER["cookie"].replace("4200", "4201")}, 401),
        ("GET", "/api/version", {"cookie": f"plaza-4200={SECRET}"}, 401),
        ("GET", "/api/version", {"cookie": "plaza-4200"}, 401),
        # a link to the UI on another page, and what else such a page may try
        ("GET", "/runs", COOKIE_HEADER | {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, 200),
        ("GET", "/runs", COOKIE_HEADER | {"sec-fetch-site": "same-site", "sec-fetch-dest": "iframe"}, 401),
        ("GET", "/api/version", COOKIE_HEADER | {"sec-fetch-site": "same-site", "sec-fetch-dest": "empty"}, 401),
        ("GET", "/api/version", COOKIE_HEADER | {"origin": "http://127.0.0.1:8000"}, 401),
        ("POST", "/api/flow_runs/", COOKIE_HEADER | {"origin": "http://127.0.0.1:8000"}, 403),
        ("POST", "/api/flow_runs/", COOKIE_HEADER | {"origin": "http://localhost:4200"}, 403),
        ("POST", "/api/flow_runs/", COOKIE_HEADER | {"origin": "null"}, 403),
        ("POST", "/api/flow_runs/", COOKIE_HEADER | {"origin": ""}, 403),
        ("POST", "/api/flow_runs/", COOKIE_HEADER | {"sec-fetch-site": "same-site"}, 403),
        ("DELETE", "/api/flow_runs/1", COOKIE_HEADER | {"sec-fetch-site": "cross-site"}, 403),
        ("POST", "/api/flow_runs/", HEADER | {"origin": "http://evil.example"}, 403),
        ("POST", "/api/flow_runs/", HEADER | {"origin": f"{OWN}.evil.example"}, 403),
    ],
)
def test_who_may_pass(ask, method, path, headers, status):
    assert ask(method, path, headers).status_code == status


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("127.0.0.1:4200", True),
        ("127.0.0.1:80", True),
        ("localhost", True),
        ("LOCALHOST.:4200", True),
        ("[::1]:4200", True),
        ("[0:0:0:0:0:0:0:1]", True),
        ("plaza.example", True),
        ("evil.example:4200", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.0.2.1:4200", False),
        ("evil.example:127.0.0.1", False),
        ("localhost@evil.example", False),
        ("", False),
    ],
)
def test_other_names_of_the_server_are_refused_whoever_asks(ask, host, is_known):
    answer = ask("GET", "/api/version", HEADER | {"host": host})
    assert answer.status_code == (200 if is_known else 421)
    if not is_known:
        assert "PLAZA_TRUSTED_HOSTS" in answer.json()["detail"]


def test_two_hosts_are_none(guard):
    scope = {"type": "http", "method": "GET", "path": "/api/health", "headers": [(b"host", b"localhost")] * 2}
    sent: list[dict[str, Any]] = []

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, None, send))
    assert sent[0]["status"] == 421


def test_origin_of_a_trusted_name_is_the_servers_own(ask):
    for origin, host in [
        ("https://plaza.example", "plaza.example"),
        ("https://plaza.example:8443", "plaza.example:8443"),
        ("http://[::1]:4200", "[::1]:4200"),
    ]:
        assert ask("POST", "/api/x", COOKIE_HEADER | {"host": host, "origin": origin}).status_code == 200, origin


def test_link_gives_a_cookie_and_leaves_no_token(ask):
    answer = ask("GET", f"/login?token={derived_token(SECRET, LINK)}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} < set(attributes)
    assert "Secure" not in attributes
    assert "s3cret" not in str(answer.headers)
    assert ask("GET", "/", {"cookie": cookie}).status_code == 200


@pytest.mark.parametrize(("trusted", "is_secure"), [("127.0.0.0/8", True), ("192.0.2.1", False)])
def test_cookie_is_for_tls_only_if_a_trusted_proxy_speaks_it(app, guard, trusted, is_secure):
    async def log_in() -> httpx.Response:
        behind = ProxyHeadersMiddleware(guard, [trusted])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(behind), base_url=OWN) as client:
            return await client.get(
                f"/login?token={derived_token(SECRET, LINK)}", headers={"x-forwarded-proto": "https"}
            )

    assert ("; Secure" in asyncio.run(log_in()).headers["set-cookie"]) == is_secure


@pytest.mark.parametrize("query", ["", "?token=", "?token=x", "?token=é", f"?token={SECRET}"])
def test_other_links_give_a_line_that_says_what_to_do(ask, query):
    answer = ask("GET", f"/login{query}")
    assert answer.status_code == 401
    assert "plaza status" in answer.text
    assert "set-cookie" not in answer.headers


def test_wrong_secrets_are_logged_once_a_minute(ask, caplog):
    for _ in range(20):
        ask("GET", "/api/version", {"authorization": authorization("a:b")})
    assert [record.getMessage() for record in caplog.records] == [
        "refused a wrong secret from 127.0.0.1 (1 since the last such line)"
    ]
    assert "a:b" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        '{"dcid": 92233720368547760001}',
        '{"dcid": -9223372036854775809}',
        '{"x": 1e400}',
        '{"x": [-1e20]}',
        "1E+20",
        "[1,2.5e19]",
        '{"x":-1.0e400}',
        '{"x": NaN}',
        '{"x": -Infinity}',
        '{"x": ' + "9" * 5000 + "}",
        r'{"x": "a\u0000b"}',
        r'{"a\u0000b": 1}',
        r'{"x": "\ud800"}',
        "[" * 210 + "]" * 210,
        '{"x":' * 210 + "1" + "}" * 210,
        '{"x": 1}'.encode("utf-16"),
        "[" * 100_000,
        '{"x": 1e99',
        b'{"x": "\xed\xa0\x80"}',
        b'{"x": "\xff", "y": 1e400}',
    ],
)
def test_what_prefect_cannot_keep_is_refused(ask, app, body):
    answer = ask("POST", "/api/deployments/x/create_flow_run", HEADER | JSON, content=body)
    assert answer.status_code == 422
    assert "\n" not in answer.json()["detail"]
    assert app.bodies == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[" * 199 + b"]" * 199,
        b'{"dcid": 9223372036854775807, "y": -9223372036854775807}',
        b'{"id": "3e45a1e99-8e20", "x": 1e18, "y": 1e-300, "digits": "123456789012345678901234567890"}',
        rb'{"x": "a\\u0000b \ud83d\ude00 NaN 1e400"}',
        '{"x": "\ud55c\uae00 NaN"}'.encode(),
        b"[" + b'{"a": {"b": [1]}},' * 1000 + b"1]",
        b'{"text": "' + b"[" * 1000 + rb"\"{{{" + b'"}',
    ],
)
def test_what_prefect_can_keep_passes_as_it_is(ask, app, body):
    assert ask("POST", "/api/deployments/x/create_flow_run", HEADER | JSON, content=body).status_code == 200
    assert app.bodies == [body]


@pytest.mark.parametrize("path", ["logs/", "events", "artifacts/", "flow_runs/1/set_state", "task_runs/1/set_state"])
def test_what_a_run_reports_is_cleaned(ask, app, path):
    body = r'[{"message": "a\u0000b\ud800", "payload": {"n": 1e400, "m": 92233720368547760001, "k": 3, "f": -1e25}}]'
    assert ask("POST", f"/api/{path}", HEADER | JSON, content=body).status_code == 200
    payload = {"n": None, "m": None, "k": 3, "f": -1e25}
    assert json.loads(app.bodies[0]) == [{"message": "ab\ufffd", "payload": payload}]
    assert app.lengths == [str(len(app.bodies[0])).encode()]


@pytest.mark.parametrize("levels", [MOST_LEVELS, MOST_LEVELS + 2, 254, 50_000])
def test_a_report_has_no_more_levels_than_prefect_reads(ask, app, levels):
    below = levels - 2
    body = (
        '{"text": "]}\\"[' + "[" * 250 + '", "data": ' + '[1,{"a":' * (below // 2) + "[0]" + "}]" * (below // 2) + "}"
    )
    assert ask("POST", "/api/artifacts/", HEADER | JSON, content=body).status_code == 200
    kept = from_json(app.bodies[0])
    assert kept["text"] == ']}"[' + "[" * 250
    assert kept["data"][0] == 1
    assert (app.bodies[0].decode() == body) == (levels <= MOST_LEVELS)


def test_a_report_that_takes_long_to_cut_is_refused(ask, app):
    body = "[" * 300 + "[]," * 300_000 + "1" + "]" * 300
    assert ask("POST", "/api/artifacts/", HEADER | JSON, content=body).status_code == 422
    assert app.bodies == []


def test_a_deep_report_is_cleaned_of_the_rest_too(ask, app):
    body = b'{"x": "\xed\xa0\x80", "n": NaN, "deep": ' + b"[" * 300 + b"]" * 300 + b', "m": 1}'
    assert ask("POST", "/api/artifacts/", HEADER | JSON, content=body).status_code == 200
    kept = from_json(app.bodies[0])
    assert (kept["x"].strip("\ufffd"), kept["n"], kept["m"]) == ("", None, 1)


def test_the_ui_has_values_checked_by_a_schema_that_javascript_has_rounded(ask, app):
    body = b'{"schema": {"maximum": 9223372036854776000, "minimum": -9223372036854776000}, "values": {"x": 1e25}}'
    assert ask("POST", "/api/ui/schemas/validate", HEADER | JSON, content=body).status_code == 200
    assert app.bodies == [body]
    assert ask("POST", "/api/ui/schemas/validate", HEADER | JSON, content=r'{"x": "\u0000"}').status_code == 422


@pytest.mark.parametrize("address", ["/api/flows/name/a%00b", "/%00", "/api/flows/?name=%00"])
def test_no_address_holds_a_nul(ask, app, address):
    assert ask("GET", address, HEADER).status_code == 400
    assert app.bodies == []


def test_large_bodies_are_refused_before_they_are_read(ask, app):
    def chunks() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 1_000_000
        raise AssertionError("read to its end")

    async def stream():
        for chunk in chunks():
            yield chunk

    assert ask("POST", "/api/x", HEADER | {"content-length": str(MOST_BYTES + 1)}, content=b"").status_code == 413
    assert ask("POST", "/api/x", HEADER, content=stream()).status_code == 413
    assert app.bodies == []


def test_bodies_of_strangers_are_not_read(ask):
    async def stream():
        raise AssertionError("read")
        yield b""

    assert ask("POST", "/api/x", content=stream()).status_code == 401


def test_clients_that_leave_within_a_body_are_no_requests(guard, app):
    async def receive():
        return next(messages)

    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    headers = [(b"host", b"localhost"), (b"authorization", authorization(SECRET).encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/x", "headers": headers, "scheme": "http"}
    asyncio.run(guard(scope, receive, None))
    assert app.bodies == []


class Socket:
    """A client's web socket."""

    def __init__(self, guard: ApiGuard) -> None:
        self._guard = guard

    def talk(self, headers: dict[str, str], *texts: str, subprotocols: tuple[str, ...] = ("prefect",)) -> list[str]:
        """Connect, say something, leave; return what the server did."""
        sent: list[dict[str, Any]] = []

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message)

        messages = iter(
            [
                {"type": "websocket.connect"},
                *({"type": "websocket.receive", "text": text} for text in texts),
                {"type": "websocket.disconnect", "code": 1000},
            ]
        )
        encoded = [(name.encode(), value.encode()) for name, value in ({"host": "127.0.0.1:4200"} | headers).items()]
        scope = {"type": "websocket", "scheme": "ws", "path": "/api/events/in", "headers": encoded}
        asyncio.run(self._guard(scope | {"subprotocols": list(subprotocols)}, receive, send))
        return [message["type"].removeprefix("websocket.") for message in sent]


@pytest.fixture
def socket(guard):
    return Socket(guard)


AUTH = json.dumps({"type": "auth", "token": SECRET})


def test_web_socket_opens_by_its_first_message(socket, app):
    assert socket.talk({}, AUTH, '{"event": 1}') == ["accept"]
    assert app.messages == [AUTH, '{"event": 1}']


@pytest.mark.parametrize(
    "text",
    ['{"type": "auth", "token": "x"}', '{"type": "auth"}', '{"type": "auth", "token": 3}', "[]", "{", "", "[" * 99999],
)
def test_web_socket_with_another_first_message_is_closed(socket, app, text):
    assert socket.talk({}, text, '{"event": 1}') == ["accept", "close"]
    assert app.messages == []


def test_web_socket_opens_by_header_or_by_cookie_of_the_own_page(socket, app):
    for headers in (HEADER, COOKIE_HEADER, COOKIE_HEADER | {"origin": OWN}):
        assert socket.talk(headers, "{}", subprotocols=()) == ["accept"]
    assert app.messages == ["{}"] * 3


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ({}, ()),
        (COOKIE_HEADER | {"origin": "http://evil.example"}, ("prefect",)),
        (COOKIE_HEADER | {"origin": "http://127.0.0.1:8000"}, ()),
        (HEADER | {"origin": "http://evil.example"}, ("prefect",)),
        (HEADER | {"host": "evil.example"}, ("prefect",)),
        ({"cookie": "plaza-4200=x"}, ()),
    ],
)
def test_web_socket_that_is_refused_never_opens(socket, app, headers, subprotocols):
    assert socket.talk(headers, AUTH, subprotocols=subprotocols) == ["close"]
    assert app.messages == []


def test_events_are_cleaned_and_what_is_no_event_is_left_out(socket, app):
    assert socket.talk(HEADER, r'{"a": "x\u0000y", "n": 1e999}', "[1e99", '{"b": 1}') == ["accept"]
    assert app.messages == ['{"a": "xy", "n": null}', '{"b": 1}']
