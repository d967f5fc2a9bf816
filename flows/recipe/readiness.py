"""Wait until the beamline has said how a data collection ended, as a message for Zocalo's dispatcher may ask for.

`ispyb_wait_for_runstatus` asks for it, `dispatcher_timeout` says for how long, and `dispatcher_error_queue` where the
message goes if that doesn't come.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from blocks.broker_names import broker_name_fault
from blocks.errors import MessageRefused, RecipeError
from blocks.identifiers import Dcid
from flows.recipe.ispyb_reading import RunStatusMissing, await_run_status
from flows.recipe.queue_sending import send_to_queue

if TYPE_CHECKING:
    from tasks.step.resources import Resources

logger = logging.getLogger(__name__)

WAIT: Final = "ispyb_wait_for_runstatus"
TIMEOUT: Final = "dispatcher_timeout"
ERROR_QUEUE: Final = "dispatcher_error_queue"
EXPIRATION: Final = "dispatcher_expiration"
KEYS: Final = (WAIT, TIMEOUT, ERROR_QUEUE, EXPIRATION)

TIMEOUT_S: Final = 120.0  # Zocalo's
LONGEST_S: Final = 86400.0
QUEUE_CHARACTERS: Final = 200
_NO: Final = frozenset({"", "0", "0.0", "false", "no", "off", "none", "null", "n", "f"})


@dataclass(frozen=True)
class RunStatusWait:
    """How long a run status is waited for, and what happens without it.

    Parameters
    ----------
    timeout_s
        From when the run begins.
    error_queue
        Where the message goes then; None: the run fails.
    expiration
        The end of the wait in seconds since the epoch, if the message has been waited with before.
    """

    timeout_s: float = TIMEOUT_S
    error_queue: str | None = None
    expiration: float | None = None

    def left_s(self) -> float:
        """Return for how long to wait from now on."""
        return self.timeout_s if self.expiration is None else max(0.0, self.expiration - time.time())


def is_wanted(value: Any) -> bool:
    """Tell whether a switch of a message is on.

    Zocalo's clients send text, of which Zocalo takes any but an empty one for yes. Here, what a person would call no
    is no: 0, false, no, off, none, in any case.
    """
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)


def wait_asked_for(parameters: Mapping[str, Any]) -> RunStatusWait | None:
    """Return what a message's parameters say of a wait; None if it asks for none.

    Raises
    ------
    RecipeError
        A time-out is no number of seconds, or the queue's name no name; also where no wait is asked for.
    """
    queue = parameters.get(ERROR_QUEUE)
    if queue is not None and (fault := _queue_fault(queue)):
        raise RecipeError(f"{ERROR_QUEUE}: expected the name of a queue, seen {queue!r:.60}: {fault}")
    wait = RunStatusWait(
        _seconds(parameters, TIMEOUT, LONGEST_S, TIMEOUT_S),
        (queue or "").strip() or None,
        _seconds(parameters, EXPIRATION, math.inf, None),
    )
    return wait if is_wanted(parameters.get(WAIT)) else None


async def await_readiness(dcid: Dcid, wait: RunStatusWait, request: Mapping[str, Any], resources: Resources) -> str:
    """Wait for a data collection's run status, or send the request to its error queue.

    Parameters
    ----------
    request
        The message as it came, with its `parameters`, in which its `guid` stands.

    Returns
    -------
    str
        Empty if the run may go on; else what became of the request, for people.

    Raises
    ------
    RunStatusMissing
        There is none in time, and no error queue; or that takes nothing.
    UnknownDataCollection
        ISPyB has none of this id.
    DatabaseUnavailable, PrefectUnavailable
        It has been away for too long.
    """
    timeout_s = wait.left_s()
    expiration = wait.expiration or time.time() + timeout_s
    logger.info("waits %g s at most for the runStatus of data collection %d in ISPyB", timeout_s, dcid)
    try:
        await await_run_status(resources, dcid, timeout_s)
    except RunStatusMissing as error:
        if wait.error_queue is None:
            raise
        message = {**request, "parameters": {**request.get("parameters", {}), EXPIRATION: expiration}}
        try:
            sent = await send_to_queue(wait.error_queue, message, resources, at=expiration)
        except MessageRefused as refusal:
            raise RunStatusMissing(f"{error}; nor can the message go to its error queue: {refusal}") from refusal
        return f"data collection {dcid} has no runStatus after {timeout_s:g} s; for {wait.error_queue}: {sent}"
    return ""


def _queue_fault(queue: Any) -> str | None:
    if not isinstance(queue, str):
        return "it's no text"
    if len(queue) > QUEUE_CHARACTERS:
        return f"it has more than {QUEUE_CHARACTERS} characters"
    return broker_name_fault(queue)


def _seconds(parameters: Mapping[str, Any], name: str, most: float, usual: Any) -> Any:
    value = parameters.get(name)
    if value is None or value == "":
        return usual
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= most or math.isinf(seconds):
        raise RecipeError(f"{name}: expected seconds from 0 to {most:g}, seen {value!r:.60}")
    return seconds
