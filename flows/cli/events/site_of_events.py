"""Which site hears of events that a command tells, and whether it can hear now."""

from __future__ import annotations

import os
import sys

import typer

from blocks.errors import ConfigurationError
from blocks.settings import get_settings


def use_site_of_events() -> None:
    """Turn this process into a client of the site that hears of its events; call it before Prefect is imported.

    A site that is down gets them when it's up again.

    Raises
    ------
    ConfigurationError
        There never was a site in the home folder.
    """
    from flows.events.drop_folder.folder import drop_folder_at_hand
    from flows.site.running_site import read_running_site, use_running_site

    named = os.environ.get("PREFECT_API_URL")  # one may tell another site than this home's
    try:
        if named in {None, read_running_site(get_settings()).api_url}:
            use_running_site()
    except ConfigurationError:
        if named is not None:
            return
        if drop_folder_at_hand() is None:
            raise
        # The user's profile names the API that a site had once, or another site's: what's told here is for this home's
        if "prefect" not in sys.modules:  # it reads its environment when it's imported
            os.environ["PREFECT_PROFILES_PATH"] = str(get_settings().home / "prefect" / "profiles.toml")
            os.environ.pop("PREFECT_PROFILE", None)


async def warn_unless_mimas_hears(command: str) -> None:
    """Say so if Mimas can't be told now but events can be kept.

    Raises
    ------
    MimasUnreachable
        They can't be kept either.
    """
    from flows.events.drop_folder.folder import drop_folder_at_hand
    from flows.events.sending import MimasUnreachable, check_mimas

    try:
        await check_mimas()
    except MimasUnreachable as error:
        folder = drop_folder_at_hand()
        if folder is None:
            raise
        typer.echo(f"{command}: {error}. Until then events are kept in {folder.path}", err=True)
