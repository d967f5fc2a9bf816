"""How a request shows that it has the site's secret: a header, a browser's cookie, or a web socket's first message."""

from __future__ import annotations

import hmac
import json
import logging
import time
from dataclasses import dataclass, field

from flows.site.access.secret import COOKIE, LINK, authorization, derived_token

logger = logging.getLogger(__name__)

_COOKIE_DAYS = 30
_LOG_PAUSE_S = 60.0


class Credentials:
    """What the server accepts.

    Parameters
    ----------
    secret
        The site's secret.
    port
        The server's: browsers keep the cookies of all ports of a machine together.
    """

    def __init__(self, secret: str, port: int) -> None:
        self._secret = secret.encode()
        scheme, self._basic = authorization(secret).encode().split(b" ")
        self._scheme = scheme.lower()
        self._link, self._cookie = (derived_token(secret, purpose).encode() for purpose in (LINK, COOKIE))
        self._cookie_name = f"plaza-{port}".encode()

    def accept_header(self, value: bytes) -> bool:
        """Tell whether a header `Authorization` holds the secret."""
        scheme, _, token = value.strip().partition(b" ")
        return scheme.lower() == self._scheme and hmac.compare_digest(token.strip(), self._basic)

    def accept_cookie(self, value: bytes) -> bool:
        """Tell whether a header `Cookie` holds what the server gave a browser."""
        pairs = (pair.strip().partition(b"=") for pair in value.split(b";"))
        given = next((text for name, _, text in pairs if name == self._cookie_name), b"")
        return hmac.compare_digest(given, self._cookie)

    def accept_link(self, token: str) -> bool:
        """Tell whether it's the token of the link that `plaza status` prints."""
        return hmac.compare_digest(token.encode(), self._link)

    def accept_message(self, text: str | None) -> bool:
        """Tell whether a web socket's first message, as Prefect's clients send it, holds the secret."""
        try:
            message = json.loads(text or "")
            token = message.get("token") if message.get("type") == "auth" else None
        except (ValueError, AttributeError, RecursionError):
            return False
        return isinstance(token, str) and hmac.compare_digest(token.encode(errors="replace"), self._secret)

    def cookie(self, *, secure: bool) -> str:
        """Return the header `Set-Cookie`.

        Lax: links to a run that stand in a mail or a logbook work; the guard sees to what other pages may ask.
        """
        age = _COOKIE_DAYS * 24 * 3600
        attributes = f"Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
        return f"{self._cookie_name.decode()}={self._cookie.decode()}; {attributes}"


@dataclass
class RefusalLog:
    """Says who came with a wrong secret, once a minute at most: it's told from outside."""

    refused: int = 0
    _said: float = field(default=-_LOG_PAUSE_S)

    def add(self, peer: str) -> None:
        """Count a wrong secret, and log it if there was no line in the last minute."""
        self.refused += 1
        now = time.monotonic()
        if now - self._said >= _LOG_PAUSE_S:
            logger.warning("refused a wrong secret from %s (%d since the last such line)", peer, self.refused)
            self.refused, self._said = 0, now
