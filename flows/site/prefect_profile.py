"""The profile `plaza` among the user's Prefect profiles: by it plain `prefect …` works with the site, secret and all.

Written without Prefect, which `plaza up` would take a second to import, and as Prefect's own command line writes the
file: other profiles stay as they are, comments don't.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import toml

from blocks.errors import PlazaError
from flows.site.running_site import RunningSite

PROFILE = "plaza"
# What Prefect has without a file of the user's: the first two stand for no choice, and lead to a server on this machine
_NO_CHOICE = frozenset({None, "ephemeral", "local", PROFILE})

_SECRET = "PREFECT_API_AUTH_STRING"
_UNUSABLE = (OSError, RuntimeError, ValueError, AttributeError, TypeError)  # no home folder; no TOML of Prefect's


class ProfileNotWritten(PlazaError):
    """The user's Prefect profiles can't be read or written; the site runs all the same."""


def profiles_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file of the user's Prefect profiles, as Prefect finds it."""
    if given := environment.get("PREFECT_PROFILES_PATH"):
        return Path(given).expanduser()
    return Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser() / "profiles.toml"


def write_profile(site: RunningSite, environment: Mapping[str, str] = os.environ) -> str | None:
    """Make the profile of the running site, and make it the active one unless the user has chosen another API.

    Returns
    -------
    str | None
        What the user has to do so that plain `prefect` works with this site; None: nothing.

    Raises
    ------
    ProfileNotWritten
        The file can't be read or written.
    """
    file = profiles_file(environment)
    try:
        content = _read(file) if file.exists() else {}
        changed, is_active = _with_profile(content, site)
        if changed != content or file.stat().st_mode & 0o077:
            _write(file, toml.dumps(changed))
    except _UNUSABLE as error:
        raise ProfileNotWritten(
            f"the Prefect profile {PROFILE!r} can't be written to {file} ({error}): `plaza prefect` works without"
        ) from error
    return _what_hinders(site, environment, is_active=is_active)


def forget_secret(secret: str | None, environment: Mapping[str, str] = os.environ) -> None:
    """Take a site's secret out of its profile: nobody is to be sent it who has the port of a site that is down.

    Raises
    ------
    ProfileNotWritten
        The file can't be read or written.
    """
    file = profiles_file(environment)
    try:
        content = _read(file)
        ours = content.get("profiles", {}).get(PROFILE, {})
        if secret and ours.get(_SECRET) == secret:  # else it's another site's
            del ours[_SECRET]
            _write(file, toml.dumps(content))
    except (FileNotFoundError, NotADirectoryError):
        return
    except _UNUSABLE as error:
        raise ProfileNotWritten(
            f"the Prefect profile {PROFILE!r} in {file} can't be changed ({error}): it still has the site's secret"
        ) from error


def _with_profile(content: Mapping[str, Any], site: RunningSite) -> tuple[dict[str, Any], bool]:
    profiles = content.get("profiles", {})
    ours = {"PREFECT_API_URL": site.api_url, _SECRET: site.secret or ""}
    active = content.get("active")
    other_api = profiles.get(active, {}).get("PREFECT_API_URL")
    chosen = other_api not in {None, site.api_url} if active in profiles else active not in _NO_CHOICE
    is_active = not chosen or active == PROFILE
    changed = {
        **content,
        "active": PROFILE if is_active else active,
        "profiles": {**profiles, PROFILE: {**profiles.get(PROFILE, {}), **ours}},
    }
    return changed, is_active


def _read(file: Path) -> dict[str, Any]:
    if file.exists() and not file.is_file():  # /dev/null, say, which would be a file for everybody afterwards
        raise OSError("it's no plain file")
    return tomllib.loads(file.read_text())


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file = file.resolve()  # a link to where it's kept stays one
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(text)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _what_hinders(site: RunningSite, environment: Mapping[str, str], *, is_active: bool) -> str | None:
    url = environment.get("PREFECT_API_URL")
    if url not in {None, site.api_url}:
        return (
            f"`prefect` goes to {url}, as your environment says: unset PREFECT_API_URL to have it work with this site"
        )
    if environment.get("PREFECT_PROFILE", PROFILE) != PROFILE:
        return "`prefect` uses another profile, as PREFECT_PROFILE says: set it to plaza to have it work with this site"
    return (
        None if is_active else "`prefect` uses another profile of yours: `prefect profile use plaza` is for this site"
    )
