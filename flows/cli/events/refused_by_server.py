"""Events that were sent to Prefect's API by HTTP and came to no run of Mimas: Prefect tells nobody but its own log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from blocks.errors import ConfigurationError
from blocks.settings import get_settings
from flows.display_text import escaped
from flows.site.api_client import ask_api
from flows.site.running_site import read_running_site

SINCE: Final = timedelta(days=1)
_MOST: Final = 50
_FAILED: Final = "prefect.automation.action.failed"
_TELLING: Final = "plaza.data-collection."


def refused_by_server() -> list[tuple[str, ...]]:
    """Return a line for each of the last day, oldest first: when, event, dcid, how it came, and why it was refused."""
    try:
        site = read_running_site(get_settings())
    except ConfigurationError:
        return []
    since = (datetime.now(UTC) - SINCE).isoformat()

    def ask(**event_filter: Any) -> list[dict[str, Any]]:
        answer = ask_api(
            site, "events/filter", {"filter": {"occurred": {"since": since}, **event_filter}, "limit": _MOST}
        )
        return answer["events"] if answer else []

    failed = {_trigger_of(event): event["payload"] for event in ask(event={"name": [_FAILED]})}
    if not failed:
        return []
    told = [event for event in ask(id={"id": list(failed)}) if event["event"].startswith(_TELLING)]
    return [_row(event, failed[event["id"]]) for event in sorted(told, key=lambda event: event["occurred"])]


def _trigger_of(event: Mapping[str, Any]) -> str:
    """Return the id of the event that an automation has acted on."""
    return next(_triggers(event), "")


def _triggers(event: Mapping[str, Any]) -> Iterator[str]:
    for related in event["related"]:
        if related.get("prefect.resource.role") == "triggering-event":
            yield related["prefect.resource.id"].removeprefix("prefect.event.")


def _row(event: Mapping[str, Any], failure: Mapping[str, Any]) -> tuple[str, ...]:
    at = datetime.fromisoformat(event["occurred"]).isoformat(sep=" ", timespec="seconds")
    dcid = escaped(str(event["payload"].get("dcid", "")))[:40]
    reason = str(failure.get("validation_error") or failure.get("reason") or "")
    return (at, escaped(event["event"].removeprefix(_TELLING)), dcid, "HTTP", f"refused: {escaped(reason)[:300]}")
