"""The link by which a browser gets into the site's UI."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flows.site.running_site import RunningSite


def print_link(site: RunningSite) -> None:
    """Print the link by which a browser gets in, unless systemd's journal would keep it for others to read."""
    output = os.fstat(sys.__stdout__.fileno()) if sys.__stdout__ else None
    if output is None or os.environ.get("JOURNAL_STREAM") != f"{output.st_dev}:{output.st_ino}":
        typer.echo(f"UI in a browser: {site.login_link}")
