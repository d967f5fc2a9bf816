"""Store what recipes send to ISPyB, by one command per node.

Each message is a transaction, with an entry in the ledger, so that a message that comes again after a crash is not
written again. Per-image results go together, many images in one; they may be written any number of times.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from blocks.errors import DatabaseUnavailable, MessageRefused
from blocks.ispyb_connection import pauses, transaction
from tasks.ispyb_access.commands import COMMANDS, Command, CommandParameters, PerImageResult, store_per_image_results
from tasks.ispyb_access.ledger import has_ledger, write_once
from tasks.step import BY_HAND, Message, Send, StepContext, StepParameters, stream_step
from tasks.step_check import Chooses

Rows = TypeVar("Rows")
Result = TypeVar("Result")

BATCH_COMMAND = "store_per_image_analysis_results"
BATCH_ROWS = 500
BATCH_PATIENCE_S = 0.5  # people watch the results of a scan as it goes on
LITERAL_KEYS = frozenset({"file_name", "file_path", "importance_rank"})  # file names may have a $ in them


CommandName = Annotated[str, Chooses({name: command.parameters for name, command in COMMANDS.items()})]


class ConnectorParameters(StepParameters):
    """What to do with each message; the command's own parameters stand beside these."""

    ispyb_command: CommandName = Field(description="Which of the write commands")
    store_result: str | None = Field(None, description="Name under which later steps find the command's result")


@stream_step(queue="ispyb_connector", parameters=ConnectorParameters, outputs=("output",), default_output="output")
async def store_in_ispyb(
    parameters: ConnectorParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Write each message to ISPyB and send its result on `output`.

    While ISPyB is away the step waits and tries again, so that the inbox fills and holds its senders back: nothing is
    lost. A message that can't be written for its own fault is refused, and the next one is taken. A message is done
    with its answer.
    """
    is_batched = parameters.ispyb_command == BATCH_COMMAND
    stored = 0
    async with aclosing(_gather(inbox, BATCH_ROWS if is_batched else 1, BATCH_PATIENCE_S)) as batches:
        async for batch in batches:
            prepared = _prepare(parameters.ispyb_command, batch, context)
            write = _write_batch if is_batched else _write_each
            for message, value in await write(prepared, parameters.ispyb_command, context):
                stored += 1
                yield _result(message, value, parameters.store_result)
            context.progress(stored, None)


def look_up(message: Message, recipe_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's parameters: those of the payload, else of the recipe, with `$name` filled in.

    `${name}` and `$name` are replaced from the message's environment, longest names first; unknown ones stay.
    """
    payload = message.payload if isinstance(message.payload, Mapping) else {}
    names = sorted(message.environment, key=len, reverse=True)

    def fill(key: str, value: Any) -> Any:
        if not isinstance(value, str) or "$" not in value or key in LITERAL_KEYS:
            return value
        for name in names:
            for placeholder in (f"${{{name}}}", f"${name}"):
                value = value.replace(placeholder, str(message.environment[name]))
        return value

    return {key: fill(key, value) for key, value in {**recipe_parameters, **payload}.items()}


Prepared = tuple[Message, CommandParameters]
Written = list[tuple[Message, Any]]


def _prepare(name: str, messages: Sequence[Message], context: StepContext) -> list[Prepared]:
    """Read each message's parameters for the command; refuse those that lack some."""
    recipe_parameters = context.node.get("parameters") or {}
    prepared = []
    for message in messages:
        try:
            parameters = _command(name).parameters.model_validate(look_up(message, recipe_parameters))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            context.refuse(message, MessageRefused(f"{name} can't use the message: {faults}"))
        except MessageRefused as error:
            context.refuse(message, error)
        else:
            prepared.append((message, parameters))
    return prepared


def _command(name: str) -> Command:
    try:
        return COMMANDS[name]
    except KeyError:
        known = ", ".join(sorted(COMMANDS))
        raise MessageRefused(f"there is no ISPyB command {name!r}; known commands: {known}") from None


async def _write_batch(prepared: list[Prepared], name: str, context: StepContext) -> Written:
    """Write all in one transaction; if one row spoils it, one by one, so that only that one is refused."""
    if len(prepared) < 2:
        return await _write_each(prepared, name, context)
    rows = [parameters for _, parameters in prepared if isinstance(parameters, PerImageResult)]
    try:
        await _persist(context, store_per_image_results, rows)
    except Exception as error:
        fault = type(error).__name__  # no more: the text has all rows in it, and the row at fault tells its own
        context.logger.warning("a batch of %d per-image results failed (%s); writing them singly", len(rows), fault)
        return await _write_each(prepared, name, context)
    return [(message, 1) for message, _ in prepared]


async def _write_each(prepared: list[Prepared], name: str, context: StepContext) -> Written:
    written: Written = []
    for message, parameters in prepared:
        try:
            value = await _persist(context, _command(name).write, parameters, _entry(message, name, context))
        except IntegrityError as error:
            reason = f"ISPyB refuses what {name} would write: {error.orig}; check the ids in the message"
            context.refuse(message, MessageRefused(reason))
        except Exception as error:
            context.refuse(message, error)
        else:
            written.append((message, value))
    return written


def _entry(message: Message, name: str, context: StepContext) -> str | None:
    """Return what the ledger calls the message's write; None for one that it needn't or can't know."""
    is_numbered = message.number and context.recipe_run != BY_HAND
    return f"{context.key(message)}/{name}" if is_numbered and not _command(name).is_repeatable else None


async def _persist(
    context: StepContext, write: Callable[[Connection, Rows], Result], rows: Rows, entry: str | None = None
) -> Result:
    """Write in a transaction, in a thread, and again for as long as ISPyB is away; once under an entry's name."""

    def attempt() -> Result:
        engine = context.resources.ispyb
        is_entered = entry is not None and has_ledger(engine)
        with transaction(engine) as connection:
            if entry is not None and is_entered:
                return write_once(connection, entry, lambda: write(connection, rows))
            return write(connection, rows)

    is_away = False
    for pause in pauses():
        try:
            result = await asyncio.to_thread(attempt)
        except DatabaseUnavailable as error:
            if not is_away:
                context.logger.warning("waiting for ISPyB: %s", error)
            is_away = True
        else:
            if is_away:
                context.logger.info("ISPyB answers again")
            return result
        await asyncio.sleep(pause)
    raise AssertionError("pauses() ended")


async def _gather(inbox: AsyncIterator[Message], size: int, patience_s: float) -> AsyncGenerator[list[Message], None]:
    """Yield messages in batches: when `size` are there, when the oldest is `patience_s` old, and at the inbox's end."""
    loop = asyncio.get_running_loop()
    batch: list[Message] = []
    due: float | None = None
    coming: asyncio.Future[Message | None] = asyncio.ensure_future(anext(inbox, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=None if due is None else max(0.0, due - loop.time()))
            if not coming.done():
                yield batch
                batch, due = [], None
                continue
            message = coming.result()
            if message is None:
                break
            batch.append(message)
            due = due or loop.time() + patience_s
            if len(batch) >= size:
                yield batch
                batch, due = [], None
            coming = asyncio.ensure_future(anext(inbox, None))
        if batch:
            yield batch
    finally:
        coming.cancel()


def _result(message: Message, value: Any, store_as: str | None) -> Send:
    environment = {**message.environment, store_as: value} if store_as else None
    return Send({"result": value}, "output", environment, follows=message, completes=(message,))
