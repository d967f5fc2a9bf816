import logging
import os
import threading

import pytest

from flows.recipe.run_record.log import (
    LogSelection,
    Merge,
    Tail,
    UnknownLevel,
    follow_log,
    read_level,
    read_log,
    steps_of,
)
from tasks.logs.line import LogLine
from tasks.step.identity import StepIdentity


def line(time, message="", node=2, step="analyse_images", level="INFO"):
    identity = StepIdentity("run", "recipe", 7, node, step)
    return LogLine(float(time), level, "tasks", message or str(time), identity, "host", 1)


def write(file, *lines):
    with file.open("a") as log:
        log.writelines(line.to_json() + "\n" for line in lines)


def times(lines):
    return [line.time for line in lines]


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_log_is_read_in_order_of_time(tmp_path):
    file = tmp_path / "log.jsonl"
    write(file, line(3), line(1), line(2, "first"), line(2, "second"))
    assert [line.message for line in read_log(file)] == ["1", "first", "second", "3"]
    assert read_log(tmp_path / "none.jsonl") == []


def test_half_written_line_is_waited_for(tmp_path):
    file = tmp_path / "log.jsonl"
    tail = Tail(file)
    assert tail.read() == []
    text = line(1, "Ångström").to_json().encode()
    with file.open("ab", buffering=0) as log:
        log.write(text[:30])
        assert tail.read() == []
        log.write(text[30:])
        assert tail.read() == []
        log.write(b"\n" + text + b"\n" + text[:5])
        assert times(tail.read()) == [1, 1]
        assert tail.read() == []
    [half] = tail.read(to_the_end=True)
    assert half.message == "a line that can't be read: {\"tim"
    tail.close()


def test_unreadable_line_is_shown_where_it_stands_and_costs_no_other(tmp_path):
    file = tmp_path / "log.jsonl"
    write(file, line(1))
    with file.open("ab") as log:
        log.write(b'{"time": "\xff\n\n')
    write(file, line(2))
    before, odd, after = read_log(file)
    assert times([before, odd, after]) == [1, 1, 2]
    assert odd.level == "WARNING"
    assert "a line that can't be read: {" in odd.message


def test_late_line_is_waited_for_within_the_window():
    clock = Clock()
    merge = Merge(window_s=1.0, clock=clock)
    merge.add([line(10), line(12)])
    assert times(merge.release()) == []
    clock.now += 0.9
    merge.add([line(11), line(13)])
    assert times(merge.release()) == []
    clock.now += 0.1
    assert times(merge.release()) == [10, 11, 12]
    assert times(merge.release(everything=True)) == [13]


def test_line_that_is_too_late_comes_all_the_same():
    clock = Clock()
    merge = Merge(window_s=1.0, clock=clock)
    merge.add([line(10)])
    clock.now += 1
    assert times(merge.release()) == [10]
    merge.add([line(5)])
    clock.now += 1
    assert times(merge.release()) == [5]


def test_clock_of_another_machine_that_is_ahead_holds_nothing_back():
    clock = Clock()
    merge = Merge(window_s=1.0, clock=clock)
    merge.add([line(1e9)])
    clock.now += 1
    merge.add([line(10)])
    assert times(merge.release()) == [10, 1e9]


def test_log_is_followed_while_it_is_written_until_the_run_has_ended(tmp_path):
    file = tmp_path / "log.jsonl"
    has_ended, may_write = threading.Event(), threading.Semaphore(0)

    def run():
        for number in range(0, 100, 10):
            assert may_write.acquire(timeout=60)
            write(file, *[line(number + late) for late in (1, 0, 3, 2)])
        has_ended.set()

    writer = threading.Thread(target=run)
    writer.start()
    found = times(follow_log(file, has_ended.is_set, Merge(window_s=0.0), wait=may_write.release))
    writer.join()
    assert sorted(found) == [number + late for number in range(0, 100, 10) for late in range(4)]


def test_what_is_written_as_the_run_ends_is_still_read(tmp_path):
    file = tmp_path / "log.jsonl"

    def ends():
        write(file, line(2), line(1))
        return True

    assert times(follow_log(file, ends)) == [1, 2]


def test_following_shows_lines_before_the_end(tmp_path):
    file = tmp_path / "log.jsonl"
    write(file, line(1))
    following = follow_log(file, lambda: False, Merge(window_s=0.0), wait=lambda: write(file, line(2)))
    assert [next(following).time, next(following).time] == [1, 2]
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    following.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1  # noqa: PTH208


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (LogSelection(), ["run", "two", "three", "bad"]),
        (LogSelection("2"), ["two", "bad"]),
        (LogSelection("analyse_images"), ["two", "bad"]),
        (LogSelection("notify_gda"), ["three"]),
        (LogSelection("None"), []),
        (LogSelection(level=logging.WARNING), ["bad"]),
        (LogSelection("3", logging.WARNING), []),
    ],
)
def test_lines_are_selected_by_step_and_level(selection, found):
    lines = [
        line(1, "run", None, None),
        line(2, "two"),
        line(3, "three", 3, "notify_gda"),
        line(4, "bad", level="ERROR"),
    ]
    assert [line.message for line in lines if line in selection] == found
    assert steps_of(lines) == ["2 analyse_images", "3 notify_gda"]


def test_levels_have_names():
    assert read_level("warning") == read_level("WARNING") == logging.WARNING
    with pytest.raises(UnknownLevel, match="--level loud: expected one of NOTSET, DEBUG, INFO"):
        read_level("loud")
