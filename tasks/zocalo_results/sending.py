"""Send XRC results to GDA: tell the beamline that waits for it where its crystals are, by Zocalo's broker.

The bridge (`plaza up --bridge`) publishes it. A beamline's device compares nothing: whatever comes first after it began
to wait is its answer. So a result goes to its own beamline alone, once, and not at all when it's late: what the broker
would have thrown away by then is kept aside by the bridge, with a word of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from blocks.broker_address import BrokerAddress
from blocks.broker_names import broker_name_fault
from blocks.errors import NodeRefused, PassingFault, PlazaError
from blocks.identifiers import Dcid
from blocks.site_broker import find_broker
from tasks.broker_outbox import is_there, put
from tasks.step import Message, Note, Retries, Send, StepContext, StepParameters, message_step
from tasks.zocalo_results.message import HEADERS, is_failure, message_body, payload_for_device

EXPIRES_S: Final = 60.0
"""So long the queues of the beamlines keep a result."""
RETRIES = Retries(tries=3)  # some seconds: a result that comes later is of no use at the beamline
_EXCHANGE: Final = "results"
_ASK_S: Final = 5.0
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")
_QUEUE: Final = re.compile(r"xrc\.([A-Za-z0-9-]+)")


def _if_filled(value: Any) -> Any:
    """Take a placeholder that the run couldn't fill as if it weren't there."""
    return None if isinstance(value, str) and _PLACEHOLDER.fullmatch(value) else value


def _gpu(value: Any) -> Any:
    return False if value == "" else _if_filled(value)  # to the device empty text is a CPU's, too


class XrcParameters(StepParameters):
    """What the beamline's device reads."""

    dcid: Annotated[Dcid, Field(gt=0)]
    dcgid: Annotated[int, Field(gt=0)]
    gpu: Annotated[bool | None, BeforeValidator(_gpu)] = Field(
        None, description="Of the GPU service; unset: as the beamline's device expects; empty: of the CPU"
    )
    beamline: Annotated[str | None, BeforeValidator(_if_filled)] = Field(
        None, description="The collection's, unset: as ISPyB says; a result of another one's isn't sent"
    )


@message_step(queue="xrc.*", parameters=XrcParameters, retries=RETRIES)
async def send_results(parameters: XrcParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Tell a beamline that waits for it, by Zocalo's broker, where its crystals are."""
    beamline = _beamline(context.node, parameters)
    payload = payload_for_device(message.payload)
    if payload is None:
        _note(context, "results in two dimensions, which no device takes, not sent to the beamline")
        return []
    settings = context.resources.settings
    if not is_there(settings):
        _note(context, "results not sent to the beamline: this site has no bridge (`plaza up --bridge`)")
        return []
    broker = await asyncio.to_thread(find_broker, settings)
    if broker is not None and beamline not in broker.xrc_beamlines:
        _note(context, f"results not sent: {beamline} isn't one of the beamlines that wait for them (xrc_beamlines)")
        return []
    await _require_own(beamline, parameters, context)
    if is_failure(payload):
        _note(context, "centring failed; the beamline is told that there is no crystal, rather than wait for nothing")
    try:
        await asyncio.to_thread(_put, beamline, parameters, message, payload, context, broker)
    except OSError as error:
        raise PassingFault(f"the result can't be kept for the bridge: {error}") from error
    return []


async def _require_own(beamline: str, parameters: XrcParameters, context: StepContext) -> None:
    """Make sure that the collection is of the beamline that is told, as far as ISPyB can say so."""
    if parameters.beamline is not None:
        return  # it has been compared
    try:
        async with asyncio.timeout(_ASK_S):
            found = await asyncio.to_thread(_read_beamline, parameters.dcid, context)
    except (PlazaError, TimeoutError):
        _note(context, "results sent to the beamline of the queue: ISPyB can't say now whose the collection is")
        return
    if found is not None and found.lower() != beamline.lower():
        raise NodeRefused(_of_another(found, f"xrc.{beamline}"))


def _read_beamline(dcid: Dcid, context: StepContext) -> str | None:
    from tasks.ispyb_access.reading.beamlines import read_beamlines

    return read_beamlines(context.resources.ispyb, [dcid]).get(dcid)


def _of_another(beamline: str, queue: Any) -> str:
    return (
        f"the collection is of {beamline!r:.60}, and its result goes to no other beamline than that: "
        f"expected the queue xrc.{beamline:.60}, seen {queue!r:.100}"
    )


def _put(
    beamline: str,
    parameters: XrcParameters,
    message: Message,
    payload: dict[str, Any],
    context: StepContext,
    broker: BrokerAddress | None,
) -> None:
    queue = f"xrc.{beamline}"
    read = {**_given(context.node), "dcid": parameters.dcid, "dcgid": parameters.dcgid}
    read.pop("gpu", None)  # to the device any text is true
    is_gpu = parameters.gpu if parameters.gpu is not None else broker is not None and beamline in broker.gpu_beamlines
    if is_gpu:
        read["gpu"] = True
    node = {"exchange": _EXCHANGE, **context.node}
    environment = {"ID": context.recipe_run, **message.environment}
    path = put(
        queue,
        message_body(node, queue, read, payload, environment),
        exchange=str(node["exchange"]),
        headers=HEADERS,
        expires_s=EXPIRES_S,
        at=message.sent_at or None,
        mark=context.key(message),
        at_most_once=True,
        home=context.resources.settings.home,
    )
    context.logger.info("the result for data collection %d goes to %s by %s", parameters.dcid, queue, path)


def _beamline(node: Mapping[str, Any], parameters: XrcParameters) -> str:
    """Return the beamline that is told."""
    queue = node.get("queue") or f"xrc.{parameters.beamline or ''}"
    exchange = str(node.get("exchange", ""))
    for name in (str(queue), exchange):
        if fault := broker_name_fault(name):
            raise NodeRefused(f"no queue or exchange can be called {name!r:.100}: {fault}")
    named = _QUEUE.fullmatch(str(queue))
    if named is None:
        raise NodeRefused(f"expected the queue of a beamline, as in xrc.i03; seen {queue!r:.100}")
    if parameters.beamline is not None and parameters.beamline != named[1]:
        raise NodeRefused(_of_another(parameters.beamline, queue))
    return named[1]


def _given(node: Mapping[str, Any]) -> dict[str, Any]:
    given = node.get("parameters")
    return dict(given) if isinstance(given, Mapping) else {}


def _note(context: StepContext, text: str) -> None:
    """Say so once, however many results come."""
    if text not in context.noted_before:
        context.logger.info("%s", text)
    context.note(Note(text))
