import asyncio
import errno
import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from tasks.logs import run_log as run_log_module
from tasks.logs.line import IDENTITY_NAMES
from tasks.logs.relay import MOST_LINES, collected_lines, relay
from tasks.logs.run_log import RunLogHandler, run_log
from tasks.step.identity import StepIdentity, acting_for, current_identity

RUN = StepIdentity("3f2a9c1b-0000", "per-image-analysis", 7)
STEP = StepIdentity("3f2a9c1b-0000", "per-image-analysis", 7, 2, "analyse_images")
OTHER = StepIdentity("ffff", "other")

logger = logging.getLogger("tasks.per_image_analysis")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run" / "log.jsonl"


def lines(file):
    # a process that opens the log while another one writes leaves an empty line, lest its own follow half a line
    return [json.loads(line) for line in file.read_text().splitlines() if line]


def messages(file):
    return [line["message"] for line in lines(file)]


def test_line_says_when_where_who_and_on_whose_behalf(file):
    with run_log(file, RUN):
        logger.info("the run")
        with acting_for(STEP):
            logger.warning("image %d", 5, extra={"spots": 3, "dcid": 99})
    first, second = lines(file)
    assert second.pop("time").endswith("+00:00")
    assert second.pop("host")
    assert second == {
        "level": "WARNING",
        "logger": "tasks.per_image_analysis",
        "message": "image 5",
        "pid": os.getpid(),
        "recipe_run": "3f2a9c1b-0000",
        "recipe": "per-image-analysis",
        "dcid": 7,
        "node": 2,
        "step": "analyse_images",
        "recipe_ID": "3f2a9c1b-0000",
        "details": {"spots": 3},
    }
    assert (first["recipe_run"], first["node"], first["step"]) == ("3f2a9c1b-0000", None, None)


async def test_tasks_and_threads_of_a_step_log_on_its_behalf(file):
    async def node(identity):
        with acting_for(identity):
            await asyncio.gather(asyncio.to_thread(logger.info, "thread"), asyncio.create_task(inner()))

    async def inner():
        await asyncio.sleep(0)
        logger.info("task")

    other = StepIdentity(RUN.recipe_run, "per-image-analysis", 7, 3, "notify_gda")
    with run_log(file, RUN):
        await asyncio.gather(node(STEP), node(other))
    said = sorted((line["node"], line["message"]) for line in lines(file))
    assert said == [(2, "task"), (2, "thread"), (3, "task"), (3, "thread")]
    assert current_identity() is None


def test_runs_in_one_process_have_their_own_lines_each(file, tmp_path):
    second = tmp_path / "other.jsonl"
    with run_log(file, RUN), run_log(second, OTHER):
        logger.info("inner")
        with acting_for(STEP):
            logger.info("outer")
        with acting_for(None):
            logger.info("nobody's")
    assert messages(file) == ["outer"]
    assert messages(second) == ["inner"]


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("DEBUG", ["debug", "info", "warning", "library warning"]),
        ("INFO", ["info", "warning", "library warning"]),
        ("ERROR", []),
    ],
)
def test_level_chooses_what_is_kept(file, level, kept):
    library = logging.getLogger("some_library")
    library.setLevel(logging.DEBUG)
    before = logger.getEffectiveLevel()
    with run_log(file, RUN, level):
        logger.debug("debug")
        logger.info("info")
        logger.warning("warning")
        library.info("library info")
        library.warning("library warning")
    logger.critical("after the end")
    assert (messages(file) if kept else file.exists()) == (kept or False)
    assert logger.getEffectiveLevel() == before


APPEND = """
import logging, sys
from pathlib import Path
from tasks.logs.run_log import run_log
from tasks.step.identity import StepIdentity
sys.stdin.read(1)
with run_log(Path(sys.argv[1]), StepIdentity("run", "recipe")):
    for number in range(2000):
        logging.getLogger("tasks").info("%s %d %s", sys.argv[2], number, "x" * (number % 300))
"""


def test_several_processes_append_whole_lines(file):
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(file), str(number)], stdin=subprocess.PIPE)
        for number in range(3)
    ]
    for writer in writers:  # all at once
        writer.stdin.write(b"x")
        writer.stdin.close()
    assert [writer.wait(timeout=240) for writer in writers] == [0, 0, 0]
    said = [message.split()[:2] for message in messages(file)]
    for name in "012":
        assert [int(number) for writer, number in said if writer == name] == list(range(2000))


def test_full_disk_is_said_once_and_the_log_goes_on_when_there_is_room(file, monkeypatch, capsys):
    real_write = os.write
    room = 10_000

    def write(descriptor, data):
        nonlocal room
        written = real_write(descriptor, data[:room]) if room else 0
        if not written:
            raise OSError(errno.ENOSPC, "No space left on device")
        room -= written
        return written

    monkeypatch.setattr(run_log_module.os, "write", write)
    with run_log(file, RUN):
        logger.info("before")
        room = 20  # less than a line
        for number in range(5):
            logger.info("lost %d", number)
        room = 10_000
        logger.info("after")
    before, half, missing, after = file.read_text().splitlines()
    assert json.loads(before)["message"] == "before"
    assert len(half) == 20
    assert json.loads(missing)["message"] == "5 lines are missing here: the log could not be written"
    assert json.loads(missing)["level"] == "WARNING"
    assert json.loads(after)["message"] == "after"
    said = capsys.readouterr().err
    assert said.count("\n") == said.count(f"lines are missing in the log {file} until it can be written") == 1
    assert "No space left" in said


def test_folder_that_can_not_be_made_disturbs_nobody(tmp_path, capsys):
    (tmp_path / "file").touch()
    with run_log(tmp_path / "file" / "log.jsonl", RUN):
        logger.info("one")
        logger.info("two")
    assert capsys.readouterr().err.count("lines are missing") == 1


def test_half_a_line_of_a_killed_process_does_not_spoil_the_next(file):
    file.parent.mkdir()
    file.write_text('{"time": "2026-')
    with run_log(file, RUN):
        logger.info("taken up again")
    half, line = file.read_text().splitlines()
    assert half == '{"time": "2026-'
    assert json.loads(line)["message"] == "taken up again"


def test_line_whose_arguments_do_not_fit_raises_nothing(file, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)
    handler = RunLogHandler(file, RUN.recipe_run)
    with acting_for(RUN):
        handler.handle(logging.LogRecord("tasks", logging.INFO, "", 0, "%d", ("x",), None))
    handler.close()
    assert "TypeError" in capsys.readouterr().err
    assert not file.exists()


def test_other_handlers_say_on_whose_behalf_a_line_is(file):
    class Stream:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    stream = Stream()
    plain, formatted = logging.StreamHandler(stream), logging.Handler()
    seen = []
    formatted.emit = lambda record: seen.append([vars(record).get(name, "absent") for name in IDENTITY_NAMES])
    root = logging.getLogger()
    root.addHandler(plain)
    logger.parent.addHandler(formatted)
    try:
        with run_log(file, RUN):
            with acting_for(STEP):
                logger.info("one")
                logger.info("two", extra={"dcid": 99})
            with acting_for(None):
                logger.info("three")
        logger.error("four")
    finally:
        root.removeHandler(plain)
        logger.parent.removeHandler(formatted)
    prefix = "3f2a9c1b · per-image-analysis · dcid 7 · 2 analyse_images | "
    assert stream.text.splitlines() == [f"{prefix}one", f"{prefix}two", "three", "four"]
    assert seen[0] == ["3f2a9c1b-0000", "per-image-analysis", 7, 2, "analyse_images", "3f2a9c1b-0000"]
    assert seen[1][2] == 99
    assert seen[2] == [None] * 6
    assert seen[3] == ["absent"] * 6


def test_worker_collects_what_its_own_thread_logs_for_the_run():
    def work():
        with collected_lines(OTHER):
            logger.warning("other thread")

    with collected_lines(STEP) as log:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        logger.info("not worth sending")
        logger.warning("mine")
    logger.warning("after")
    [line] = log
    assert (line.message, line.identity, line.pid) == ("mine", STEP, os.getpid())


def test_worker_sends_no_flood():
    with collected_lines(STEP) as log:
        for number in range(MOST_LINES + 7):
            logger.warning("image %d", number)
    assert len(log) == MOST_LINES + 1
    assert log[-1].message == "7 more lines like these"


def test_nothing_is_collected_for_nobody():
    with collected_lines(None) as log:
        logger.warning("by hand")
    assert log == []


def test_line_from_a_worker_is_kept_once_whether_the_worker_is_here_or_elsewhere(file):
    with collected_lines(STEP) as elsewhere:
        logger.warning("elsewhere")
    with run_log(file, RUN):
        with acting_for(STEP):
            relay(elsewhere)
        with collected_lines(STEP) as here:
            logger.warning("here")
        relay(here)
    assert messages(file) == ["elsewhere", "here"]
    assert [line["node"] for line in lines(file)] == [2, 2]


def test_of_a_long_line_the_middle_is_left_out_wherever_it_goes(file):
    class Kept(logging.Handler):
        def emit(self, record):
            kept.append(record.getMessage())

    kept, handler = [], Kept()
    logging.getLogger("tasks").addHandler(handler)
    try:
        with run_log(file, RUN):
            logger.warning("begin %s end", "x" * 10**6)
    finally:
        logging.getLogger("tasks").removeHandler(handler)
    assert messages(file) == kept
    assert kept[0].startswith("begin xx")
    assert kept[0].endswith("xx end")
    assert len(kept[0]) <= run_log_module.MOST_CHARACTERS
