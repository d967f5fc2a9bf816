"""Look into a visit's folder by a process that is killed at its time limit: a file system may hang for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

import tasks
from tasks.ispyb_access.reading.visit.looking import Found, Question

PROGRAM = ("-S", "-P", "-m", "tasks.ispyb_access.reading.visit.looking")
"""Without the site's packages, which it doesn't need: 10 ms instead of 30."""

DEATH_S = 0.5  # a process that is killed while a file system doesn't answer dies only when that does

_undead: list[subprocess.Popen[bytes]] = []
_one_at_a_time = threading.Lock()


class LookFailed(RuntimeError):
    """The process ended without an answer."""


def look_by_process(question: Question) -> Found:
    """Look into a visit's folder. Raises as `look_into_all` does."""
    (found,) = look_into_all([question])
    return found


def look_into_all(questions: Sequence[Question]) -> list[Found]:
    """Look into several visits' folders by one process, within the longest of their time limits.

    Raises
    ------
    TimeoutError
        That took too long; or an earlier process is still held up by a file system.
    LookFailed
        The process ended without an answer.
    """
    limit_s = max(question["limit_s"] for question in questions)
    with _one_at_a_time:  # of this process
        _await_undead(limit_s)
        process = subprocess.Popen(
            [sys.executable, *PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PYTHONPATH": _import_folder(), "PYTHONUTF8": "1", "PATH": os.defpath},
        )
        try:
            answer, said = process.communicate(json.dumps(questions).encode(), limit_s)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            raise TimeoutError from error
        except BaseException:
            _kill(process)
            raise
    if process.returncode != 0:
        raise LookFailed(said.decode(errors="replace").strip().rpartition("\n")[2][:200] or f"{process.returncode}")
    found: list[Found] = json.loads(answer)
    return found


def _import_folder() -> str:
    """Return the folder that has the package `tasks`."""
    return os.path.dirname(tasks.__path__[0])  # noqa: PTH120


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):
            if stream is not None:
                stream.close()
    try:
        process.wait(DEATH_S)
    except subprocess.TimeoutExpired:
        _undead.append(process)


def _await_undead(limit_s: float) -> None:
    """Make sure that no more than one process is held up: another would be too."""
    for process in list(_undead):
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        _undead.remove(process)
