"""A child process, as its parent sees it: it's sent JSON lines and answers with JSON lines.

`tasks.processes.parent` is the child's end. A process of its own is for what may crash, hang or hold on to something:
HDF5, DIALS. Where an answer is limited in time and objects go to and fro: `tasks.diffraction.dials_processes.child`;
where one process serves many others: `flows.warm_pool.fork_server`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Self

import psutil

from tasks.logs.line import LogLine
from tasks.logs.process_output import ProcessOutput

logger = logging.getLogger(__name__)

STOP_S = 2.0  # a child that reads a hanging file system answers nobody; its parent has to get on
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of an answer: what is known of a folder of many images, or of a master of many files, may be long."""


def how_it_ended(code: int) -> str:
    """Say how a process ended, from its exit status; negative, the number of the signal that ended it."""
    return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"


class ChildProcess:
    """A child process that lives until its standard input ends: at `close`, or when its parent is gone.

    What it prints or logs is kept until it's taken, so that its last words are known.
    """

    def __init__(self, process: Process, output: ProcessOutput) -> None:
        assert process.stdin is not None, "it's started with a pipe to it"
        assert process.stdout is not None, "it's started with a pipe from it"
        self._process, self._output = process, output
        self._questions, self._answers = process.stdin, process.stdout
        self._is_killed = False

    @classmethod
    async def start(
        cls,
        program: Sequence[str],
        name: str,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a process, in a session of its own: Ctrl-C is for its parent.

        Parameters
        ----------
        program
            What Python runs, with its arguments.
        name
            By which the lines that it prints are logged.
        environment
            None: this process's.
        """
        output = ProcessOutput(name)
        try:
            # Standard error is a file: unlike a pipe it needs no reader, so a child that prints much never waits.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a module of the current folder must not stand in for one of a library
                *program,
                stdin=PIPE,
                stdout=PIPE,
                stderr=output.fileno(),
                env=environment,
                start_new_session=True,
                limit=LONGEST_LINE,
            )
        except BaseException:
            output.close()
            raise
        return cls(process, output)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status once it has ended."""
        return self._process.returncode

    @property
    def cpu_s(self) -> float:
        """How long it has computed so far; waiting for a file system doesn't count. 0 once it's gone."""
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(self.pid).cpu_times()
            return times.user + times.system
        return 0.0

    async def ask(self, question: bytes) -> bytes:
        """Send a line, and return the line that answers it; empty if the process is gone.

        The process is killed when who asks is cancelled: its answer would be taken for that to the next question.
        """
        try:
            return await self.receive() if await self.send(question) else b""
        except asyncio.CancelledError:
            self._kill()
            raise

    async def send(self, line: bytes) -> bool:
        """Send a line; False if the process is gone."""
        try:
            self._questions.write(line + b"\n")
            await self._questions.drain()
        except ConnectionError:
            return False
        return True

    async def receive(self) -> bytes:
        """Return the next line; empty if the process is gone, or is killed for a line over `LONGEST_LINE`."""
        if self._is_killed:
            return b""  # whatever is left in the pipe answers no question of now
        try:
            return await self._answers.readline()
        except ValueError:  # the line is too long, and its rest would be taken for the next one
            logger.error("process %d is killed: it answered with more than %d bytes", self.pid, LONGEST_LINE)
            self._kill()
            return b""

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines that come, until there are no more."""
        while line := await self.receive():
            yield line

    def take_output(self) -> list[LogLine]:
        """Take what it has printed and logged since the last time."""
        return self._output.take(self.pid)

    def last_words(self) -> str:
        """Take the end of what it has printed and logged, for an error's text."""
        return self._output.last_words(self.pid)

    async def wait(self) -> int:
        """Wait for its end and return its exit status."""
        return await self._process.wait()

    async def close(self) -> None:
        """Let it end, which it does when it has nothing to answer; by force if that takes too long.

        Nobody waits for one that was killed: not even that ends a process before a hanging file system answers it.
        """
        self._output.close()
        self._questions.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self.wait()
        except TimeoutError:
            self._kill()

    async def kill(self) -> None:
        """End it at once, and wait for that."""
        self._kill()
        await self.wait()
        self._output.close()

    def _kill(self) -> None:
        self._is_killed = True
        if self.returncode is None:
            self._process.kill()
