"""`plaza spots` on the command line: what is printed where, exit codes, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image as Picture

from tasks.diffraction.requests import ImageStatistics
from tasks.simulation.collection import render
from tasks.simulation.plan import CollectionPlan

pytestmark = pytest.mark.dials

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()", "spots"]
PATIENCE_S = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import asyncio

    return Path(asyncio.run(render(CollectionPlan.rotation(4, 0.5), tmp_path_factory.mktemp("pictures"))).folder)


@pytest.fixture
def environment(tmp_path):
    return os.environ | {"PLAZA_HOME": str(tmp_path / "home")}


@pytest.fixture
def spots(environment):
    def run(*words):
        return subprocess.run(
            [*COMMAND, *map(str, words)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run


def test_a_folder_is_a_table_and_a_line_of_how_fast(spots, folder, tmp_path):
    done = spots(folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 + 4
    [summary] = done.stderr.splitlines()
    assert summary.startswith("plaza spots: 4 images in ")
    assert not (tmp_path / "home").exists(), "no site is made for it"


def test_json_is_a_line_an_image_and_nothing_else(spots, folder):
    done = spots(folder, "--json", "--processes", "1")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    names = [*ImageStatistics.__dataclass_fields__]
    assert [list(line) for line in lines] == [["file", "file-number", *names]] * 4
    assert [line["file-number"] for line in lines] == [1, 2, 3, 4]


def test_an_image_that_fails_is_told_and_the_exit_code_says_so(spots, folder, tmp_path):
    broken = tmp_path / "broken [1]\n1.cbf"
    broken.write_bytes(b"###CBF: nothing")
    done = spots(broken, next(folder.glob("*.cbf")))
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 3 + 1
    assert "broken [1] 1.cbf" in done.stderr
    assert "1 failed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_plots_are_drawn(spots, folder, tmp_path):
    for names, plot in (([folder], "sweep.png"), ([next(folder.glob("*.cbf"))], "image.png")):
        done = spots(*names, "--plot", tmp_path / plot)
        assert done.returncode == 0, done.stderr
        with Picture.open(tmp_path / plot) as picture:
            assert min(picture.size) > 500


def test_a_plot_without_a_place_is_refused_at_once(spots, folder):
    done = spots(folder, "--plot", "/nowhere/x.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "plaza: the plot /nowhere/x.png can't be written: No such file or directory\n"


def test_who_reads_only_the_first_line_is_told_nothing_more(environment, folder):
    with subprocess.Popen(
        [*COMMAND, str(folder), "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith('{"file"')
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait(PATIENCE_S)
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (">/dev/full", "plaza: standard output can't be written: No space left on device\n"),
        (">&-", "plaza: standard output is closed: expected a terminal, a pipe or a file, such as /dev/null\n"),
        (">&- 2>&- <&-", ""),
    ],
)
def test_output_that_can_not_be_written_is_a_line(environment, folder, closed, said):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, str(folder), "--json"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, said)


def test_people_may_have_closed_what_is_said_to_them(environment, folder):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&- <&-', "sh", *COMMAND, str(folder), "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4)


def test_an_interrupt_ends_all_processes_and_says_how_far_it_came(environment, folder):
    with subprocess.Popen(
        [*COMMAND, str(folder)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        children = _await_children(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert not alive
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "plaza spots: stopped" in said


def _await_children(pid):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        children = [child for child in psutil.Process(pid).children() if "child_main" in " ".join(child.cmdline())]
        if children:
            return children
        time.sleep(0.02)
    raise TimeoutError("no DIALS process was started")
