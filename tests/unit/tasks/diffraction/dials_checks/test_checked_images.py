"""Which images of a node are checked: one of any N, and others in the place of those that prove nothing."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.diffraction.dials_checks.checked_images import CheckedImages, count_checked, is_checked

RUNS = [str(uuid.UUID(int=number)) for number in range(200)]


def go(one_in, spots, run="run", loses=lambda number: False, tries=1, **before):
    """Do images one after the other; return the places of those that were checked."""
    which, checked = CheckedImages(one_in, run, **before), []
    for number, has_spots in enumerate(spots):
        for again in range(tries):
            asked = which.ask(number, again=again > 0)
            if again < tries - 1:
                which.note_lost(number)
        if asked and loses(number):
            which.note_lost(number)
            asked = which.ask(number, again=True)
        elif not asked and which.wants(number, has_spots=has_spots):
            asked = which.ask(number, again=True)
        if asked:
            checked.append(number)
            which.note_checked(number, proves=has_spots)
    return checked


@given(st.integers(1, 3000), st.uuids(), st.integers(0, 10_000))
def test_of_any_n_consecutive_images_one_is_checked(one_in, run, first):
    assert sum(is_checked(place, one_in, str(run)) for place in range(first, first + one_in)) == 1


@given(st.integers(0, 50), st.text(max_size=3), st.integers(0, 200))
def test_those_of_the_first_images_are_counted(one_in, run, done):
    assert count_checked(done, one_in, run) == sum(is_checked(place, one_in, run) for place in range(done))


def test_no_image_is_checked_if_none_is_to_be():
    assert go(0, [True] * 5000) == []


@pytest.mark.parametrize(("images", "share"), [(200, 0.2), (100, 0.1), (1, 0.001)])
def test_short_runs_have_their_share(images, share):
    runs = [str(uuid.UUID(int=number)) for number in range(4000)]
    checked = sum(any(is_checked(place, 1000, run) for place in range(images)) for run in runs)
    assert checked > 0
    assert 0.5 * share < checked / len(runs) < 1.5 * share + 0.001


@pytest.mark.parametrize("run", RUNS[:20])
def test_where_all_have_spots_no_more_are_checked(run):
    assert go(50, [True] * 500, run) == [place for place in range(500) if is_checked(place, 50, run)]


@pytest.mark.parametrize("run", RUNS[:50])
def test_after_a_blank_image_the_next_one_with_spots_is_checked(run):
    first = next(place for place in range(50) if is_checked(place, 50, run))
    spots = [False] * 117
    spots[first + 20 : first + 50] = [True] * 30
    assert first + 20 in go(50, spots, run)


@pytest.mark.parametrize("run", RUNS[:20])
def test_blank_sweeps_stay_cheap_and_are_checked_here_and_there(run):
    checked = go(1000, [False] * 4000, run)
    assert 4 + 8 <= len(checked) <= 4 + 12
    first = next(place for place in range(1000) if is_checked(place, 1000, run))
    assert [place - first for place in checked[:5]] == [0, 1, 3, 7, 15]


@pytest.mark.parametrize("tries", [2, 5])
@pytest.mark.parametrize("run", RUNS[:20])
def test_images_that_are_tried_again_have_one_place(run, tries):
    checked = go(10, [True] * 1000, run, tries=tries)
    assert len(checked) >= 99  # lost, its place is another's


@pytest.mark.parametrize("run", RUNS[:20])
def test_a_check_that_was_lost_passes_on_to_the_next_image(run):
    first = next(place for place in range(10) if is_checked(place, 10, run))
    checked = go(10, [True] * 20, run, loses=lambda number: number == first)
    assert checked[0] == first + 1


def test_where_images_are_lost_by_being_checked_few_are():
    which, lost = CheckedImages(10, "run"), 0
    for number in range(1000):
        if which.ask(number, again=False) or which.wants(number, has_spots=True):
            which.note_lost(number)
            lost += 1
    assert lost <= 100 + 10


def test_one_check_at_a_time_makes_up_for_another():
    which = CheckedImages(10, "run", done=10)
    assert which.wants(1, has_spots=True)
    assert not which.wants(2, has_spots=True)
    which.note_checked(1, proves=True)
    assert not which.wants(3, has_spots=True)


def test_where_all_are_checked_that_is_so_when_they_come_again():
    which = CheckedImages(1, "run")
    assert which.ask(1, again=False)
    which.note_lost(1)
    assert which.ask(1, again=True)


def test_a_check_that_an_earlier_process_lost_is_made_up_for():
    assert go(10, [True], done=10, proven=0) == [0]
    assert CheckedImages(10, "run", done=10, proven=1).wants(1, has_spots=True) is False
