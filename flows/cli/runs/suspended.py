"""What became of a suspended run: no process of it is there to note that, so Prefect is asked."""

from __future__ import annotations

from typing import Final

from blocks.errors import ConfigurationError
from blocks.settings import get_settings

_SUSPENDED: Final = "Suspended: "
_WAITS: Final = "PAUSED"


def as_it_stands(recipe_run: str, headline: str) -> str:
    """Return a run's state; of one whose record says that it's suspended, what Prefect calls it by now.

    Where no site runs, or doesn't answer, what the record says is the last that's known.
    """
    if not headline.startswith(_SUSPENDED):
        return headline

    from flows.site.api_client import ask_api
    from flows.site.running_site import read_running_site

    try:
        run = ask_api(read_running_site(get_settings()), f"flow_runs/{recipe_run}")
    except ConfigurationError:
        return headline
    state = run.get("state") if isinstance(run, dict) else None
    if not state or state["type"] == _WAITS:
        return headline
    return f"{state['name']}: {state['message'] or 'after it had been suspended'}"
