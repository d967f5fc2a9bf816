"""Send a message to a queue: to the step that serves it here, else to the broker, by the bridge."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from blocks.broker_names import broker_name_fault
from blocks.errors import MessageRefused
from flows.recipe.source import keep_custom_recipe
from tasks import broker_outbox
from tasks.step.ports import FailedLaunch, Launch
from tasks.step.registry import known_queues

if TYPE_CHECKING:
    from tasks.step.resources import Resources

MERGED_RECIPE: Final = "merged-recipe"
"""The flow that runs several recipes as one, and custom ones."""


async def send_to_queue(
    queue: str, message: Mapping[str, Any], resources: Resources, *, at: float | None = None
) -> str:
    """Send a message to a queue: by a run, once however often it's asked for.

    A queue that a step serves gets it by a run of a recipe of that one step; another one by the bridge, where the site
    wants one.

    Parameters
    ----------
    at
        Since when it's so, in seconds since the epoch: sent again with the same, the bridge, too, publishes it once.

    Returns
    -------
    str
        What became of it, for people.

    Raises
    ------
    MessageRefused
        Nothing here serves the queue, or the run isn't taken.
    PrefectUnavailable
        Prefect's API doesn't answer.
    """
    if queue in known_queues():
        return await _launch(queue, message, resources)
    if fault := broker_name_fault(queue):
        raise MessageRefused(f"no queue can be called {queue!r:.60}: {fault}")
    if await asyncio.to_thread(broker_outbox.is_there, resources.settings):
        await asyncio.to_thread(broker_outbox.put, queue, message, at=at, mark=_digest(queue, message) if at else None)
        return f"the bridge publishes it on the queue {queue!r:.100}"
    raise MessageRefused(
        f"the queue {queue!r:.100} is served by no step of Plaza, and this site has no bridge to a broker (`plaza up "
        f"--bridge`): expected one of {', '.join(known_queues())}, or a bridge"
    )


def one_step_recipe(queue: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe that hands a message to the step that serves a queue; braces in it are text, no placeholders."""
    return {"1": {"queue": queue}, "start": [[1, _literal(message)]]}


async def _launch(queue: str, message: Mapping[str, Any], resources: Resources) -> str:
    custom = await asyncio.to_thread(keep_custom_recipe, one_step_recipe(queue, message))
    launch = Launch(
        recipe=MERGED_RECIPE,
        dcid=None,
        parameters={},
        key=f"queue-{_digest(queue, message)}",
        name=f"message for {queue}",
        flow_parameters={"custom_recipe": custom},
    )
    [launched] = await resources.launcher.launch([launch])
    if isinstance(launched, FailedLaunch):
        raise MessageRefused(f"no run can hand the message to the step of {queue!r:.100}: {launched.reason}")
    return f"run {launched.flow_run_id} hands it to the step of {queue}"


def _digest(queue: str, message: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([queue, message], sort_keys=True, default=str).encode()).hexdigest()


def _literal(value: Any) -> Any:
    """Return a JSON value in which braces stand for themselves when a recipe's placeholders are filled."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, Mapping):
        return {_literal(key): _literal(below) for key, below in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list | tuple) else value
