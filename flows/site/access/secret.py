"""The site's secret: who has it may use Prefect's API, and so run anything as the site's user.

It's in Prefect's form, `user:password`, since its clients and server send and expect it so (HTTP's Basic
authentication). Browsers get tokens made of it, never the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from blocks.errors import ConfigurationError
from flows.site.access.home_folder import group_of

_USER = "plaza"
_GIVEN = "PREFECT_SERVER_API_AUTH_STRING"  # of a user's environment: what servers that are started in it ask for


def secret_file(home: Path) -> Path:
    """Return the file of the secret."""
    return home / "api-secret"


def read_secret(home: Path) -> str | None:
    """Return the secret; None before the site has ever been up."""
    try:
        return secret_file(home).read_text().strip()
    except FileNotFoundError:
        return None


def make_secret(home: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret that a site which is being started asks for, and keep it in the home folder.

    It's what Prefect's own setting for servers says in the user's environment, else what it was, else a new one. The
    home folder's group may read it if it may list the home.

    Raises
    ------
    ConfigurationError
        The environment's can't be sent in a header.
    """
    given = environment.get(_GIVEN, "").strip()
    if not given.isprintable():
        raise ConfigurationError(f"{_GIVEN} holds characters that can't be printed: expected the form user:password")
    secret = given or read_secret(home) or f"{_USER}:{secrets.token_urlsafe(32)}"
    group = group_of(home)
    draft = secret_file(home).with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secret + "\n")
        if group is not None:
            os.fchown(stream.fileno(), -1, group)
        os.fchmod(stream.fileno(), 0o600 if group is None else 0o640)  # once it's the group's, whatever the umask
    draft.replace(secret_file(home))
    return secret


def authorization(secret: str) -> str:
    """Return the header's value by which a client shows that it has the secret."""
    return "Basic " + base64.b64encode(secret.encode()).decode()


def derived_token(secret: str, purpose: str) -> str:
    """Return a text that only who has the secret can make, and from which nobody can make the secret."""
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def login_link(ui_url: str, secret: str | None) -> str:
    """Return the address by which a browser gets the UI, and a cookie for the next time."""
    return f"{ui_url}/login?token={derived_token(secret, LINK)}" if secret else ui_url


LINK = "link"
COOKIE = "cookie"
