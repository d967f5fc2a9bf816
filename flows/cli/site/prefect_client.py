"""`plaza prefect …`: Prefect's own command line, talking to the running site."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer


def prefect(context: typer.Context) -> None:
    """Run Prefect's command line against the running site, as in `plaza prefect flow-run ls`."""
    from blocks.settings import get_settings
    from flows.site.running_site import site_environment

    os.environ.update(site_environment(get_settings()))
    os.execv(Path(sys.executable).with_name("prefect"), ["prefect", *context.args])
