"""Store what recipes send to ISPyB, by one command per node.

Each message is a transaction, with an entry in the ledger, so that a message that comes again after a crash is not
written again: a list of commands too, all of it or nothing. Per-image results go together, many images in one
transaction; they may be written any number of times.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from blocks.errors import MessageRefused, NodeRefused
from tasks.ispyb_access.writing.commands.image_quality import PER_IMAGE
from tasks.ispyb_access.writing.composite_commands import BUFFER, MODELS, MULTIPART, check_name, check_store_name
from tasks.ispyb_access.writing.fulfilment import fulfil
from tasks.ispyb_access.writing.patience import write_patiently
from tasks.ispyb_access.writing.requests import Outcome, Request, RowAwaited
from tasks.ispyb_connector import image_batches
from tasks.ispyb_connector.blame import blame
from tasks.ispyb_connector.postponed import Postponed
from tasks.step import BY_HAND, Chooses, Message, NodePlan, Send, StepContext, StepParameters, stream_step

SIMPLE: Final = "of the message"
"""Stands for the command of a node that has no parameters: its messages bring them."""

ROW_PAUSE_S = 20.0  # both Zocalo's; time in which ISPyB is away doesn't count
ROW_PATIENCE_S = 600.0

CommandName = Annotated[str, Chooses(MODELS)]


class ConnectorParameters(StepParameters):
    """What to do with each message; the command's own parameters stand beside these."""

    ispyb_command: CommandName = Field(description="Which of the write commands")
    store_result: str | None = Field(None, description="Name under which later steps find the command's result")

    @model_validator(mode="before")
    @classmethod
    def _may_be_without_any(cls, values: Any) -> Any:
        return {"ispyb_command": SIMPLE} if values == {} else values


def _check(parameters: ConnectorParameters, plan: NodePlan) -> None:
    if parameters.ispyb_command == SIMPLE:
        raise MessageRefused("store_in_ispyb expects ispyb_command among the node's parameters; seen no parameters")


@stream_step(
    queue="ispyb_connector",
    parameters=ConnectorParameters,
    outputs=("output", "trigger", "held"),
    default_output="output",
    check=_check,
)
async def store_in_ispyb(
    parameters: ConnectorParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Write each message to ISPyB and send its result on `output`; new jobs are announced on `trigger` or `held`.

    While ISPyB is away the step waits and tries again, so that the inbox fills and holds its senders back: nothing is
    lost. A message that can't be written for its own fault is refused, and the next one is taken. A message is done
    with its answer.
    """
    is_of_images = parameters.ispyb_command == PER_IMAGE
    store = _store_images if is_of_images else _store_each
    stored = 0
    async with aclosing(store(parameters, inbox, context)) as batches:
        async for batch in batches:
            for message, outcome in batch:
                stored += 1
                for send in _sends(message, outcome):
                    yield send
            context.progress(stored, None)


Stored = list[tuple[Message, Outcome]]


async def _store_images(
    parameters: ConnectorParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncGenerator[Stored, None]:
    # 1 is what Zocalo answers: ImageQualityIndicators has no id of its own.
    outcome = Outcome([1], {parameters.store_result: 1} if parameters.store_result else {}, [])
    async with aclosing(image_batches.store_images(inbox, context)) as batches:
        async for messages in batches:
            yield [(message, outcome) for message in messages]


async def _store_each(
    parameters: ConnectorParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncGenerator[Stored, None]:
    """Write the messages one after the other; those that wait for others' rows come again later."""
    postponed = Postponed(inbox, ROW_PAUSE_S, tries=1 + round(ROW_PATIENCE_S / ROW_PAUSE_S))
    async with aclosing(postponed.messages()) as messages:
        async for message in messages:
            try:
                outcome = await _store(message, parameters, context)
            except RowAwaited as error:
                if not postponed.put_back(message):
                    reason = f"{error}, nor has it come in {ROW_PATIENCE_S:g} s; nothing of the message is written"
                    context.refuse(message, MessageRefused(reason))
            except Exception as error:
                context.refuse(message, error)
            else:
                yield [(message, outcome)]


async def _store(message: Message, parameters: ConnectorParameters, context: StepContext) -> Outcome:
    request = _read_request(message, parameters, context)
    try:
        request.check()
    except MessageRefused as error:
        payload = message.payload if isinstance(message.payload, Mapping) else {}
        raise blame(error, payload, context.node.get("parameters") or {}) from error
    # The ledger needn't know what may be repeated, and can't know a message that is numbered anew each time.
    is_entered = message.number and context.recipe_run != BY_HAND and not request.is_repeatable
    entry = f"{context.key(message)}/{request.command}" if is_entered else None
    return await write_patiently(context.resources, lambda writer: fulfil(request, writer, entry), context.logger)


def _read_request(message: Message, parameters: ConnectorParameters, context: StepContext) -> Request:
    payload = message.payload if isinstance(message.payload, Mapping) else {}
    if parameters.ispyb_command == SIMPLE:
        return _read_simple(message, payload)
    _check_command(parameters.ispyb_command)
    places = payload, context.node.get("parameters") or {}
    return Request(parameters.ispyb_command, places, message.environment, parameters.store_result)


def _check_command(command: str) -> None:
    """Refuse whatever comes to a node whose command isn't one."""
    try:
        if command not in {MULTIPART, BUFFER}:
            check_name(command)
    except MessageRefused as error:
        raise NodeRefused(str(error)) from error


def _read_simple(message: Message, payload: Mapping[str, Any]) -> Request:
    """Read a message that isn't part of a recipe: {"parameters": as a node's, "content": as a payload}."""
    parameters, content = payload.get("parameters"), payload.get("content")
    command = parameters.get("ispyb_command") if isinstance(parameters, Mapping) else None
    if not isinstance(parameters, Mapping) or not isinstance(command, str) or "content" not in payload:
        raise MessageRefused(
            "expected ispyb_command among the node's parameters, or a message of parameters, with ispyb_command, and "
            "content; seen neither"
        )
    if command in {MULTIPART, BUFFER}:
        raise MessageRefused(f"{command} is for recipes: a message that isn't part of one can't bring it")
    places = content if isinstance(content, Mapping) else {}, parameters
    return Request(command, places, message.environment, check_store_name(parameters.get("store_result")))


def _sends(message: Message, outcome: Outcome) -> list[Send]:
    environment = {**message.environment, **outcome.stored} if outcome.stored else None  # None: the message's own
    announced = [
        Send(dict(announcement.payload), announcement.output, environment, follows=message)
        for announcement in outcome.announcements
    ]
    result = Send({"result": outcome.value}, "output", environment, follows=message, completes=(message,))
    return [*announced, result]
