"""What steps say of their work in numbers adds up, and stays within bounds."""

import pytest

from tasks.step import Note
from tasks.step.notes import MOST_CHARACTERS, MOST_NOTES, OTHERS, Notes


def test_notes_of_the_same_words_add_up():
    notes = Notes([Note("images", 150), Note("images by DIALS: gain", 2, of="images")])
    notes.add(
        Note("images", 50), Note("images by DIALS: gain", of="images"), Note("images by DIALS: mask", of="images")
    )
    assert notes.lines() == ["200 images", "3 of 200 images by DIALS: gain", "1 of 200 images by DIALS: mask"]
    assert notes.counts() == {"images": 200, "images by DIALS: gain": 3, "images by DIALS: mask": 1}


def test_what_warns_comes_first_and_once_it_has_warned_it_does():
    notes = Notes([Note("images", 3), Note("odd", is_warning=True), Note("odd")])
    assert notes.lines() == ["2 odd", "3 images"]
    assert notes.warnings() == ["2 odd"]


def test_a_part_of_what_was_not_counted_is_told_alone():
    assert Notes([Note("images by DIALS", of="images")]).lines() == ["1 images by DIALS"]


def test_words_that_are_never_the_same_are_counted_together():
    notes = Notes([Note("images", 1000)])
    notes.add(
        *(Note(f"images like no other: {number}", of="images", is_warning=number == 999) for number in range(1000))
    )
    assert len(notes) == MOST_NOTES + 1
    assert sum(note.count for note in notes) == 2000
    assert notes.lines()[0] == f"{1000 - MOST_NOTES + 1} of 1000 {OTHERS}"


@pytest.mark.parametrize("length", [MOST_CHARACTERS, MOST_CHARACTERS + 1, 10**6])
def test_long_words_are_cut(length):
    [note] = Notes([Note("x" * length)])
    assert len(note.text) == MOST_CHARACTERS


def test_copies_are_their_own():
    one = Notes([Note("images")])
    other = Notes(one)
    assert one == other
    other.add(Note("images"))
    assert one != other
    assert one.lines() == ["1 images"]
