"""A child process answers line by line; what it prints, how it ends and that it ends are known."""

import asyncio
import os
import signal
import sys

import psutil
import pytest

from tasks.processes import child
from tasks.processes.child import ChildProcess, how_it_ended

ECHO = """
import sys
from tasks.processes.parent import lines_to_parent
with lines_to_parent() as send:
    print("a library prints")
    for line in sys.stdin:
        if line == "die\\n":
            sys.exit("no memory")
        send(line.strip().upper() * (100_000 if line == "long\\n" else 1))
"""


@pytest.fixture
async def start(tmp_path):
    children = []

    async def start(program=ECHO, **options):
        (tmp_path / "program.py").write_text(program)
        children.append(await ChildProcess.start((str(tmp_path / "program.py"),), "echo", **options))
        return children[-1]

    yield start
    for each in children:
        await each.kill()


async def test_each_line_is_answered(start):
    echo = await start()
    assert [await echo.ask(question) for question in (b"one", b"two")] == [b"ONE\n", b"TWO\n"]


async def test_a_long_answer_comes_whole(start):
    echo = await start()
    assert await echo.ask(b"long") == b"LONG" * 100_000 + b"\n"
    assert await echo.ask(b"one") == b"ONE\n"


async def test_what_is_printed_is_no_answer_and_is_kept(start):
    echo = await start()
    assert await echo.ask(b"one") == b"ONE\n"
    await echo.send(b"die")
    await echo.wait()
    assert "a library prints" in echo.last_words()


async def test_a_process_ends_when_it_is_closed(start):
    echo = await start()
    await echo.ask(b"one")
    await echo.close()
    assert echo.returncode == 0


async def test_the_last_words_of_a_process_that_dies_are_known(start):
    echo = await start()
    assert await echo.ask(b"die") == b""
    assert await echo.wait() == 1
    assert (how_it_ended(1), "no memory" in echo.last_words()) == ("it ended with exit code 1", True)
    assert await echo.ask(b"anybody?") == b""


async def test_a_process_that_is_killed_answers_nothing(start):
    echo = await start()
    await echo.ask(b"one")
    os.kill(echo.pid, signal.SIGKILL)
    assert await echo.ask(b"two") == b""
    assert how_it_ended(await echo.wait()) == "it was ended by SIGKILL"


async def test_who_is_cancelled_leaves_no_answer_to_the_next_question(start):
    echo = await start()
    asking = asyncio.create_task(echo.ask(b"one"))
    await asyncio.sleep(0)  # it has sent its question, and waits
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await echo.ask(b"two") == b""
    assert await asyncio.wait_for(echo.wait(), 60) == -signal.SIGKILL


async def test_a_process_that_answers_with_too_long_a_line_is_killed(start, monkeypatch, caplog):
    monkeypatch.setattr(child, "LONGEST_LINE", 300_000)
    echo = await start()
    assert await echo.ask(b"one") == b"ONE\n"
    assert await echo.ask(b"long") == b""
    assert "more than 300000 bytes" in caplog.text
    assert await echo.ask(b"two") == b""
    assert await asyncio.wait_for(echo.wait(), 60) == -signal.SIGKILL


async def test_a_process_that_does_not_end_is_killed(start, monkeypatch):
    monkeypatch.setattr(child, "STOP_S", 0.1)
    hanging = await start("import time, sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(600)")
    assert await hanging.receive() == b"ready\n"
    await hanging.close()
    assert await asyncio.wait_for(hanging.wait(), 60) == -signal.SIGKILL


async def test_a_process_ends_with_its_parent(tmp_path):
    (tmp_path / "echo.py").write_text(ECHO)
    parent = f"""
import asyncio, os, sys
from tasks.processes.child import ChildProcess
async def main():
    echo = await ChildProcess.start(({str(tmp_path / "echo.py")!r},), "echo")
    await echo.ask(b"one")
    print(echo.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE)
    echo = psutil.Process(int(await process.stdout.readline()))
    process.kill()
    await process.wait()
    await asyncio.to_thread(psutil.wait_procs, [echo], 60)
    assert not echo.is_running() or echo.status() == psutil.STATUS_ZOMBIE
