import errno
import os
import signal
import threading
from multiprocessing import Pipe
from pathlib import Path

import pytest

from tasks.diffraction.dials_processes import child, child_main, deaths
from tasks.diffraction.dials_processes.child_main import serve
from tasks.diffraction.dials_processes.child_pool import ChildPool
from tasks.diffraction.errors import DialsUnavailable
from tasks.diffraction.requests import (
    Failure,
    ImageAnalysis,
    ImageRequest,
    ImageStatistics,
    PreviewRequest,
    SpotFindingOptions,
    Success,
)
from tasks.step import USUAL_RETRIES
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
        ("segfault", "while it worked on segfault, image 1: it was ended by SIGSEGV"),
        ("exit", "while it worked on exit, image 1: it ended with exit code 3"),
        ("hang", "while it worked on hang, image 1: it gave no answer for 0.3 s and was ended"),
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


def images(pool, file, *numbers):
    return pool.meet([PreviewRequest(str(file), number, "", "") for number in numbers])


def count_deaths(caplog):
    return sum("The DIALS process died" in record.getMessage() for record in caplog.records)


def test_image_that_only_ever_sees_its_process_killed_may_pass_and_is_not_remembered(pool):
    for _ in range(3):
        [outcome] = meet(pool, "killed")
        assert (outcome.may_pass, outcome.ended_process, outcome.poison) == (True, True, None)
        assert (
            "the DIALS process was killed while it worked on killed, image 1: it was ended by SIGKILL" in outcome.reason
        )


def test_master_whose_every_image_kills_costs_few_processes_whatever_its_length(pool, tmp_path, caplog):
    master = tmp_path / "m dies at 1 2 3 4 5 6 7 8 9.h5"
    master.touch()
    outcomes = [*images(pool, master, *range(1, 5)), *images(pool, master, *range(5, 10))]
    assert count_deaths(caplog) == 4  # two for the first image, one each for the next two
    assert [outcome.ended_process for outcome in outcomes] == [True] * 3 + [False] * 6
    assert not any(outcome.may_pass for outcome in outcomes)
    assert len({outcome.reason for outcome in outcomes[3:]}) == 1
    assert {outcome.poison.file for outcome in outcomes[2:]} == {str(master)}
    assert meet(pool, "a")[0].value  # other files are analysed


def test_master_that_was_replaced_is_tried_anew(pool, tmp_path):
    master = tmp_path / "m dies at 1 2 3.h5"
    master.touch()
    images(pool, master, 1, 2, 3)
    assert isinstance(images(pool, master, 4)[0], Failure)
    (tmp_path / "new").write_text("new")
    (tmp_path / "new").replace(master)
    assert isinstance(images(pool, master, 4)[0], Success)


def test_master_is_tried_anew_after_an_hour(pool, tmp_path, monkeypatch):
    master = tmp_path / "m dies at 1 2 3.h5"
    master.touch()
    images(pool, master, 1, 2, 3)
    monkeypatch.setattr(deaths, "REMEMBERED_S", 0.0)
    assert isinstance(images(pool, master, 4)[0], Success)


def test_bad_images_in_a_good_master_fail_alone(pool, tmp_path, caplog):
    master = tmp_path / "m dies at 2 3 7 8.h5"
    master.touch()
    kinds = [type(outcome) for outcome in images(pool, master, *range(1, 11))]
    assert [number for number, kind in enumerate(kinds, 1) if kind is Failure] == [2, 3, 7, 8]
    assert count_deaths(caplog) == 6
    assert isinstance(images(pool, master, 2)[0], Failure)
    assert count_deaths(caplog) == 6  # not tried again
    assert isinstance(images(pool, master, 1)[0], Success)


def test_master_with_bad_images_everywhere_is_given_up_in_the_end(pool, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(deaths, "IMAGES_IN_ALL", 4)
    master = tmp_path / "m dies at 2 4 6 8 10 12 14.h5"
    master.touch()
    outcomes = images(pool, master, *range(1, 15))
    assert count_deaths(caplog) == 2 * 4
    assert all(outcome.poison for outcome in outcomes[8:])


def test_file_known_to_kill_from_another_worker_is_not_tried(pool, tmp_path, caplog):
    master = tmp_path / "m dies at 1 2 3 4.h5"
    master.touch()
    other = ChildPool(PROGRAM)
    poison = images(other, master, 1, 2, 3)[-1].poison
    other.close()
    caplog.clear()
    requests = [PreviewRequest(str(master), number, "", "") for number in (1, 4)]
    assert [type(outcome) for outcome in pool.meet(requests, {poison})] == [Failure, Failure]
    assert count_deaths(caplog) == 0


def test_hang_is_not_tried_twice(pool, caplog):
    meet(pool, "hang", "hang")
    assert count_deaths(caplog) == 1


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


@pytest.mark.parametrize(("name", "may_pass"), [("unable.py", False), ("unable_stale.py", True)])
def test_missing_dials_may_pass_if_its_cause_may(name, may_pass, tmp_path):
    program = tmp_path / name
    program.write_text(Path(PROGRAM[0]).read_text())
    with pytest.raises(DialsUnavailable) as caught:
        meet(ChildPool((str(program),)), "a")
    assert USUAL_RETRIES.may_pass(caught.value) is may_pass


@pytest.mark.parametrize(("name", "may_pass"), [("SIGKILL", True), ("SIGTERM", True), ("SIGSEGV", False)])
def test_process_that_is_killed_at_its_start_may_be_started_later(name, may_pass, tmp_path):
    program = tmp_path / "short.py"
    program.write_text(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    with pytest.raises(DialsUnavailable, match=f"did not start: it was ended by {name}") as caught:
        meet(ChildPool((str(program),)), "a")
    assert USUAL_RETRIES.may_pass(caught.value) is may_pass


@pytest.mark.parametrize(("number", "may_pass"), [(errno.EAGAIN, True), (errno.ENOMEM, True), (errno.ENOENT, False)])
def test_process_that_can_not_be_forked_may_be_later_as_the_system_says(number, may_pass, monkeypatch):
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(child.subprocess, "Popen", fail)
    with pytest.raises(DialsUnavailable, match=os.strerror(number)) as caught:
        meet(ChildPool(PROGRAM), "a")
    assert USUAL_RETRIES.may_pass(caught.value) is may_pass
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_images_done_before_dials_was_gone_are_kept(tmp_path):
    program = tmp_path / "once.py"
    mark = tmp_path / "started"
    program.write_text(
        f"import sys; from pathlib import Path\nif Path({str(mark)!r}).exists(): raise SystemExit(4)\n"
        f"Path({str(mark)!r}).touch()\n" + Path(PROGRAM[0]).read_text()
    )
    pool = ChildPool((str(program),))
    done, *rest = meet(pool, "a", "segfault", "b")
    pool.close()
    assert isinstance(done, Success)
    assert ["did not start" in outcome.reason for outcome in rest] == [True, True]


def test_process_that_dies_at_its_start_is_said(tmp_path):
    program = tmp_path / "short.py"
    program.write_text("import sys; sys.stderr.write('no libtbx\\n'); raise SystemExit(4)")
    with pytest.raises(DialsUnavailable, match=r"did not start: it ended with exit code 4\. It said: no libtbx"):
        meet(ChildPool((str(program),)), "a")


def test_what_dials_says_is_logged_with_its_image_in_order(pool, caplog):
    meet(pool, "a", "noisy", "b")
    assert [(record.levelname, record.name, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "tasks.diffraction.dials_processes.child_main",
            "DIALS at noisy, image 1: written by native code\nin two lines",
        ),
        ("WARNING", "dxtbx", "DIALS at noisy, image 1: no detector distance"),
        ("WARNING", "tasks.diffraction.dials_processes.child_main", "DIALS at noisy, image 1: more"),
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


@pytest.mark.parametrize("last", ["a", "segfault", "hang", "exit", "killed"])
def test_however_a_process_ends_its_links_are_removed(pool, last):
    [before] = meet(pool, "links")
    assert Path(before.value).is_dir()
    meet(pool, last)
    if last != "a":
        assert not Path(before.value).exists()
    pool.close()
    assert not Path(before.value).exists()


def test_process_removes_its_links_if_its_parent_is_gone(pool):
    [outcome] = meet(pool, "links")
    [child] = pool._idle
    child._connection.close()
    child._process.wait(timeout=60)
    assert not Path(outcome.value).exists()


def test_process_ends_quietly_if_its_parent_is_gone_before_it_is_ready():
    ours, theirs = Pipe()
    ours.close()
    with theirs:
        serve(theirs, handler=None)


def test_child_keeps_the_memory_of_one_image_for_the_next_unless_the_site_says_otherwise(pool, monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    [outcome] = meet(pool, "environment")
    seen = {name: outcome.value.get(name) for name in child.ENVIRONMENT}
    assert seen == child.ENVIRONMENT | {"MALLOC_TOP_PAD_": "1"}


def test_child_that_is_idle_gives_its_memory_back_and_goes_on(monkeypatch):
    given_back = threading.Event()
    monkeypatch.setattr(child_main, "IDLE_S", 0.01)
    monkeypatch.setattr(child_main, "give_memory_back", given_back.set)
    ours, theirs = Pipe()
    server = threading.Thread(target=serve, args=(theirs, dying_child.Obedient()))
    server.start()
    assert ours.recv() == child_main.READY
    assert given_back.wait(timeout=10)
    ours.send((PreviewRequest("a", 1, "", ""),))
    outcome, _ = ours.recv()
    assert outcome.value[0] == "a"
    ours.close()
    server.join(timeout=10)


@pytest.mark.parametrize(
    ("images", "events"),
    [
        ([{}, {}, {}], "own own own"),
        ([{}, {"check": True}, {}, {}], "own check own GIVEN-BACK own"),
        ([{"by_dials": "a gain"}, {"by_dials": "a gain"}, {}], "dials dials own GIVEN-BACK"),
        ([{"check": True}, {"check": True}], "check check"),
    ],
)
def test_memory_that_dials_has_taken_for_one_image_in_many_is_given_back(images, events, monkeypatch):
    seen = []

    class Handler:
        def meet(self, request):
            seen.append("check" if request.check else "dials" if request.by_dials else "own")
            return Success(ImageAnalysis(ImageStatistics(-1, -1, -1, 0, 0, 0, -1, -1, 0), request.by_dials), 0.001)

    monkeypatch.setattr(child_main, "give_memory_back", lambda: seen.append("GIVEN-BACK"))
    ours, theirs = Pipe()
    server = threading.Thread(target=serve, args=(theirs, Handler()))
    server.start()
    ours.send([ImageRequest("a", SpotFindingOptions(), **how) for how in images])
    for _ in range(1 + len(images)):  # one says that it's ready
        ours.recv()
    ours.close()
    server.join(timeout=10)
    assert " ".join(seen) == events


def test_memory_is_given_back_on_a_system_that_can():
    child_main.give_memory_back()
