import os
import signal
import threading
from multiprocessing import Pipe
from pathlib import Path

import pytest

from tasks.diffraction.child import ChildPool, DialsUnavailable
from tasks.diffraction.child_main import serve
from tasks.diffraction.requests import Failure, PreviewRequest, Success
from tests.support import dying_child

PROGRAM = (dying_child.__file__,)


@pytest.fixture
def pool():
    pool = ChildPool(PROGRAM)
    yield pool
    pool.close()


def meet(pool, *files):
    return pool.meet([PreviewRequest(file, 1, "", "", time_limit_s=0.3 if file == "hang" else 60.0) for file in files])


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("segfault", "while it worked on segfault: it was ended by SIGSEGV"),
        ("exit", "while it worked on exit: it ended with exit code 3"),
        ("hang", "while it worked on hang: it gave no answer for 0.3 s and was ended"),
    ],
)
def test_image_that_ends_its_process_fails_alone(pool, file, reason):
    before, dying, after = meet(pool, "a", file, "b")
    assert isinstance(before, Success)
    assert isinstance(after, Success)
    assert isinstance(dying, Failure)
    assert reason in dying.reason


def test_several_dying_images_in_a_row_fail_each_for_itself(pool):
    outcomes = meet(pool, "segfault", "exit", "a", "segfault")
    assert [type(outcome) for outcome in outcomes] == [Failure, Failure, Success, Failure]


def test_image_whose_process_is_killed_once_is_analysed_after_all(pool, tmp_path):
    [outcome] = meet(pool, f"once{tmp_path / 'killed'}")
    assert isinstance(outcome, Success)


def test_failed_image_does_not_cost_the_process(pool):
    first, bad, last = meet(pool, "a", "bad", "b")
    assert bad == Failure("it is bad")
    assert first.value[1] == last.value[1]


def test_process_is_kept_from_one_chunk_to_the_next(pool):
    assert meet(pool, "a")[0].value[1] == meet(pool, "b")[0].value[1]


def test_process_that_died_while_idle_is_replaced(pool):
    pid = meet(pool, "a")[0].value[1]
    os.kill(pid, signal.SIGKILL)
    assert meet(pool, "b")[0].value[1] != pid


def test_threads_have_processes_of_their_own(pool):
    pids = []
    together = threading.Barrier(2)

    def work():
        with pool._borrow() as child:
            together.wait(timeout=60)
            pids.append(child.pid)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pids)) == 2


def test_closed_pool_leaves_no_process(pool):
    pid = meet(pool, "a")[0].value[1]
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_prestarted_process_meets_the_first_request(pool):
    pool.prestart(1)
    [child] = pool._idle
    assert meet(pool, "a")[0].value[1] == child.pid


def test_missing_dials_is_said(tmp_path):
    program = tmp_path / "unable.py"
    program.write_text(Path(PROGRAM[0]).read_text())
    with pytest.raises(DialsUnavailable, match="no DIALS here"):
        meet(ChildPool((str(program),)), "a")


def test_process_that_dies_at_its_start_is_said(tmp_path):
    program = tmp_path / "short.py"
    program.write_text("import sys; sys.stderr.write('no libtbx\\n'); raise SystemExit(4)")
    with pytest.raises(DialsUnavailable, match=r"did not start: it ended with exit code 4\. It said: no libtbx"):
        meet(ChildPool((str(program),)), "a")


def test_what_dials_says_is_logged_with_its_image_in_order(pool, caplog):
    meet(pool, "a", "noisy", "b")
    assert [(record.levelname, record.name, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "tasks.diffraction.child_main", "DIALS at noisy, image 1: written by native code\nin two lines"),
        ("WARNING", "dxtbx", "DIALS at noisy, image 1: no detector distance"),
        ("WARNING", "tasks.diffraction.child_main", "DIALS at noisy, image 1: more"),
    ]
    [process] = {record.process for record in caplog.records}
    assert process == pool._idle[0].pid


def test_last_words_of_a_process_that_crashes_are_logged(pool, caplog):
    meet(pool, "segfault")
    words, *_ = [record.getMessage() for record in caplog.records]
    assert words.startswith("DIALS at segfault, image 1: terminate called\nFatal Python error: Segmentation fault")
    assert "dying_child.py" in words
    assert "in meet" in words


def test_of_a_flood_the_end_is_logged(pool, caplog):
    meet(pool, "flood", "a")
    [record] = caplog.records
    assert "bytes before this are left out" in record.getMessage()
    assert len(record.getMessage()) < 70_000


def test_closed_pool_leaves_no_file_open(pool):
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    meet(pool, "a", "segfault", "exit", "hang", "b")
    pool.close()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_process_ends_quietly_if_its_parent_is_gone_before_it_is_ready():
    ours, theirs = Pipe()
    ours.close()
    with theirs:
        serve(theirs, handler=None)
