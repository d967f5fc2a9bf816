"""A step at work on an inbox that the test fills, and a way to wait for what comes of it."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from tasks.step import Message, Send, Step, StepContext
from tasks.step.resources import Resources
from tasks.step.runner import run_step, sends_of


class RunningStep:
    """A step in a task of its own: what it sends and refuses, and how far it says it is.

    Parameters
    ----------
    parameters
        Those of its node.
    """

    def __init__(self, step: Step, parameters: dict[str, Any], resources: Resources) -> None:
        self.sent: list[Send] = []
        self.refused: list[tuple[Message, Exception]] = []
        self.progress: list[tuple[int, int | None]] = []
        self._inbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._numbers = itertools.count(1)
        context = StepContext(
            {"parameters": parameters},
            "run-1",
            resources,
            refuse=lambda message, error: self.refused.append((message, error)),
            progress=lambda done, expected: self.progress.append((done, expected)),
        )
        self.task = asyncio.create_task(self._run(step, context))

    def put(self, *payloads: Any, **environment: Any) -> None:
        """Put messages into the inbox."""
        for payload in payloads:
            self._inbox.put_nowait(Message(payload, environment, next(self._numbers)))

    async def end(self) -> None:
        """End the inbox, and wait for the step to end."""
        self._inbox.put_nowait(None)
        await asyncio.wait_for(self.task, 60)

    async def _run(self, step: Step, context: StepContext) -> None:
        async for result in run_step(step, self._messages(), context):
            self.sent += sends_of(result)

    async def _messages(self):
        while (message := await self._inbox.get()) is not None:
            yield message


async def until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Wait for something to come true."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
