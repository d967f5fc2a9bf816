"""What is remembered of files whose images end their process."""

import os

import pytest

from tasks.diffraction.dials_processes.deaths import IMAGES_IN_A_ROW, IMAGES_IN_ALL, REMEMBERED_S, REST, PoisonRecord
from tasks.diffraction.requests import Poison, PreviewRequest
from tasks.file_version import file_version


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def record(clock):
    return PoisonRecord(clock)


@pytest.fixture
def master(tmp_path):
    master = tmp_path / "m.h5"
    master.touch()
    return master


def write_to(master):
    """Change a file so that it's seen, however coarse its file system's clock is."""
    master.write_text(master.read_text() + "x")


def replace(master):
    new = master.with_name("new")
    new.write_text("new")
    new.replace(master)


def image(master, number):
    return PreviewRequest(str(master), number, "", "")


def deaths_of(record, master, numbers, between=lambda: None):
    """Have images tried, all of which end their process; return how many processes they have cost."""
    count = 0
    for number in numbers:
        between()
        if record.refusal(image(master, number)) is None:
            count += 1 if record.has_just_killed(image(master, number)) else 2
            record.note_death(image(master, number), "it was ended by SIGSEGV")
    return count


def test_master_that_is_still_written_to_costs_no_process_for_each_image(record, master):
    assert deaths_of(record, master, range(1, 101), lambda: write_to(master)) == 5
    refusal = record.refusal(image(master, 101))
    assert refusal.may_pass, "it's another file since"
    assert "also since it was written anew: the next one is tried in" in refusal.reason


def test_rests_between_tries_of_a_file_that_is_written_to_have_an_end(record, master, clock):
    deaths_of(record, master, range(IMAGES_IN_A_ROW))
    count = 0
    for number in range(500):
        clock.now += 1.0
        count += deaths_of(record, master, [100 + number], lambda: write_to(master))
    assert 10 <= count <= 50
    clock.now += REST.longest_s
    write_to(master)
    assert record.refusal(image(master, 1000)) is None


def test_file_that_is_left_as_it_killed_is_given_up(record, master, clock):
    assert deaths_of(record, master, range(1, 101)) == 4
    clock.now += REST.longest_s
    refusal = record.refusal(image(master, 50))
    assert not refusal.may_pass
    assert refusal.poison == Poison(str(master), file_version(str(master)))


@pytest.mark.parametrize("change", [write_to, replace, os.utime])
def test_file_that_was_mended_is_analysed_as_any_other(change, record, master):
    deaths_of(record, master, range(IMAGES_IN_ALL))
    change(master)
    for number in range(IMAGES_IN_ALL):
        assert record.refusal(image(master, number)) is None, "also what has killed before"
        record.note_life(image(master, number))
    assert deaths_of(record, master, [1, 2]) == 3, "a bad image of a good file is no reason to give it up"
    assert record.refusal(image(master, 3)) is None


def test_image_of_a_file_of_its_own_is_tried_again_once_it_is_replaced_only(record, master):
    deaths_of(record, master, [1])
    assert "has ended its DIALS process" in record.refusal(image(master, 1)).reason
    replace(master)
    assert record.refusal(image(master, 1)) is None


def test_what_others_knew_of_the_file_that_was_replaced_changes_nothing(record, master):
    """Runs tell with each chunk what they have ever found."""
    old = Poison(str(master), file_version(str(master)))
    replace(master)
    assert deaths_of(record, master, range(1, 101), lambda: record.learn({old})) == 4
    assert record.refusal(image(master, 1)).poison.version == file_version(str(master))


def test_what_others_knew_of_a_mended_file_is_forgiven_for_good(record, master):
    old = Poison(str(master), file_version(str(master)))
    write_to(master)
    for number in range(10):
        record.learn({old})
        assert record.refusal(image(master, number)) is None
        record.note_life(image(master, number))


def test_a_verdict_of_others_is_taken_over_with_its_rests(record, master):
    for _ in range(3):
        record.learn({Poison(str(master), file_version(str(master)))})
        write_to(master)
    assert record.refusal(image(master, 1)).may_pass


def test_a_verdict_is_forgotten_after_an_hour(record, master, clock):
    deaths_of(record, master, range(10))
    clock.now += REMEMBERED_S + 1
    assert record.refusal(image(master, 11)) is None
