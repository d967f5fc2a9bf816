"""Store per-image results: many images in one transaction, soon enough for people who watch a scan."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from blocks.errors import MessageRefused, NodeRefused
from tasks.ispyb_access.writing.commands.image_quality import PER_IMAGE, PerImageResult
from tasks.ispyb_access.writing.parameters import look_up, read_command_parameters
from tasks.ispyb_access.writing.patience import write_patiently
from tasks.ispyb_connector.blame import is_misnamed, is_unknown
from tasks.step import Message, StepContext

BATCH_ROWS: Final = 500  # 50 to 100 times the rows a second of one by one, on SQLite and on MariaDB
BATCH_PATIENCE_S = 0.2  # people watch the results of a scan as it goes on; a transaction costs 5 to 12 ms

Prepared = tuple[Message, PerImageResult]


async def store_images(inbox: AsyncIterator[Message], context: StepContext) -> AsyncGenerator[list[Message], None]:
    """Write each message's image, and yield the messages whose images are there; refuse those that can't be used.

    They may be written any number of times, so the ledger doesn't know of them.
    """
    async with aclosing(gather(inbox, BATCH_ROWS, BATCH_PATIENCE_S)) as batches:
        async for batch in batches:
            yield await _write_batch(_prepare(batch, context), context)


def _prepare(messages: Sequence[Message], context: StepContext) -> list[Prepared]:
    recipe_parameters = context.node.get("parameters") or {}
    prepared = []
    for message in messages:
        payload = message.payload if isinstance(message.payload, dict) else {}
        values = look_up(message.environment, payload, recipe_parameters)
        try:
            prepared.append((message, read_command_parameters(PER_IMAGE, PerImageResult, values)))
        except MessageRefused as error:
            context.refuse(message, NodeRefused(str(error)) if is_misnamed(payload, context.node) else error)
    return prepared


async def _write_batch(prepared: Sequence[Prepared], context: StepContext) -> list[Message]:
    """Write all in one transaction; if rows spoil it, each half by itself, and so on: only those rows are refused.

    The node's data collection spoils all of them.
    """
    if not prepared:
        return []
    try:
        await _write([result for _, result in prepared], context)
    except (MessageRefused, ValueError) as error:
        if is_unknown(error, (result for _, result in prepared), context.node):
            for message, _ in prepared:
                context.refuse(message, NodeRefused(str(error)))
            return []
        if len(prepared) == 1:
            context.refuse(prepared[0][0], error)
            return []
        context.logger.info("a batch of %d per-image results is refused; each half is tried", len(prepared))
        half = len(prepared) // 2
        return [*await _write_batch(prepared[:half], context), *await _write_batch(prepared[half:], context)]
    except Exception as error:
        for message, _ in prepared:
            context.refuse(message, error)
        return []
    return [message for message, _ in prepared]


async def _write(results: Sequence[PerImageResult], context: StepContext) -> None:
    await write_patiently(context.resources, lambda writer: writer.write_images(results), context.logger)


@dataclass
class _End:
    """The inbox's end, and why if it isn't over."""

    error: Exception | None = None


async def gather(inbox: AsyncIterator[Any], size: int, patience_s: float) -> AsyncGenerator[list[Any], None]:
    """Yield messages in batches: of `size`, or what has come `patience_s` after the last batch, or up to the end.

    So what comes after a while of silence goes at once, with what's there already. One batch more comes in while one is
    dealt with; then the inbox is left to hold its senders back.
    """
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=size)
    filling = asyncio.create_task(_fill(queue, inbox))  # a task for all, not a wait for each
    loop, next_at = asyncio.get_running_loop(), -math.inf
    try:
        while True:
            batch = [await queue.get()]
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_at):
                    while len(batch) < size and not isinstance(batch[-1], _End):
                        batch.append(await queue.get())
            end = batch.pop() if isinstance(batch[-1], _End) else None
            if batch:
                next_at = loop.time() + patience_s
                yield batch
            if end:
                break
        if end.error:
            raise end.error
    finally:
        filling.cancel()
        await asyncio.wait({filling})


async def _fill(queue: asyncio.Queue[Any], inbox: AsyncIterator[Any]) -> None:
    end = _End()
    try:
        async for message in inbox:
            await queue.put(message)
    except Exception as error:
        end.error = error
    await queue.put(end)
