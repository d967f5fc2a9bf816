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

from pydantic import Field

from blocks.broker_address import BrokerAddress
from blocks.broker_names import broker_name_fault
from blocks.errors import NodeRefused, PassingFault
from blocks.identifiers import Dcid
from blocks.site_broker import find_broker
from tasks.broker_outbox import is_there, put
from tasks.step import Message, Note, Retries, Send, StepContext, StepParameters, message_step
from tasks.zocalo_results.message import HEADERS, is_of_a_volume, message_body

EXPIRES_S: Final = 60.0
"""So long the queues of the beamlines keep a result."""
RETRIES = Retries(tries=3)  # some seconds: a result that comes later is of no use at the beamline
_EXCHANGE: Final = "results"
_QUEUE: Final = re.compile(r"xrc\.([A-Za-z0-9-]+)")


class XrcParameters(StepParameters):
    """What the beamline's device reads."""

    dcid: Annotated[Dcid, Field(gt=0)]
    dcgid: Annotated[int, Field(gt=0)]
    gpu: bool | None = Field(None, description="Of the GPU service; unset: as the beamline's device expects")
    beamline: str | None = Field(None, description="The collection's; a result of another one's isn't sent")


@message_step(queue="xrc.*", parameters=XrcParameters, retries=RETRIES)
async def send_results(parameters: XrcParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Tell a beamline that waits for it, by Zocalo's broker, where its crystals are."""
    beamline = _beamline(context.node, parameters)
    if not is_of_a_volume(message.payload):
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
    try:
        await asyncio.to_thread(_put, beamline, parameters, message, context, broker)
    except OSError as error:
        raise PassingFault(f"the result can't be kept for the bridge: {error}") from error
    return []


def _put(
    beamline: str, parameters: XrcParameters, message: Message, context: StepContext, broker: BrokerAddress | None
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
        message_body(node, queue, read, message.payload, environment),
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
        raise NodeRefused(
            f"the collection is of {parameters.beamline!r:.60}, and its result goes to no other beamline than that: "
            f"expected the queue xrc.{parameters.beamline:.60}, seen {queue!r:.100}"
        )
    return named[1]


def _given(node: Mapping[str, Any]) -> dict[str, Any]:
    given = node.get("parameters")
    return dict(given) if isinstance(given, Mapping) else {}


def _note(context: StepContext, text: str) -> None:
    """Say so once, however many results come."""
    if text not in context.noted_before:
        context.logger.info("%s", text)
    context.note(Note(text))
