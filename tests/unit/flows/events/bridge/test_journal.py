"""What was taken and is brought again is known; the same content sent twice is two."""

from pathlib import Path

import pytest

from flows.events.bridge import journal as journal_module
from flows.events.bridge.journal import Journal, digest_of


@pytest.fixture
def home(tmp_path):
    return tmp_path


def reopened(home: Path) -> Journal:
    """Return the journal as the next process has it."""
    journal = Journal.of(home)
    journal.connected()
    return journal


def test_the_same_content_sent_twice_gets_two_marks(home):
    journal = reopened(home)
    assert journal.take("d", again=False).mark != journal.take("d", again=False).mark


def test_what_is_brought_again_keeps_its_mark_over_a_crash(home):
    before = reopened(home).take("d", again=False)
    again = reopened(home).take("d", again=True)
    assert again.mark == before.mark
    assert not again.is_accepted


def test_what_was_accepted_is_known_as_such_over_a_crash(home):
    journal = reopened(home)
    before = journal.take("d", again=False)
    journal.accept(before)
    again = reopened(home).take("d", again=True)
    assert (again.mark, again.is_accepted) == (before.mark, True)


def test_what_was_accepted_is_known_over_a_lost_connection(home):
    journal = reopened(home)
    before = journal.take("d", again=False)
    journal.accept(before)
    journal.connected()
    assert journal.take("d", again=True) is before


def test_of_two_of_the_same_content_each_is_found_once_and_what_is_not_accepted_first(home):
    journal = reopened(home)
    first, second = journal.take("d", again=False), journal.take("d", again=False)
    journal.accept(first)
    journal = reopened(home)
    assert [journal.take("d", again=True).mark for _ in range(2)] == [second.mark, first.mark]
    assert journal.take("d", again=True).mark not in (first.mark, second.mark)


def test_a_new_message_of_the_same_content_is_not_taken_for_one_that_may_come_again(home):
    journal = reopened(home)
    accepted = journal.take("d", again=False)
    journal.accept(accepted)
    assert reopened(home).take("d", again=False).mark != accepted.mark


def test_what_the_broker_knows_is_forgotten(home):
    journal = reopened(home)
    taken = journal.take("d", again=False)
    journal.accept(taken)
    journal.forget(taken)
    assert list(journal.folder.iterdir()) == []
    assert not reopened(home).take("d", again=True).is_accepted


def test_what_the_broker_does_not_bring_again_is_forgotten_after_some_time(home, monkeypatch):
    reopened(home).take("d", again=False)
    journal = reopened(home)
    journal.forget_old()
    assert len(list(journal.folder.iterdir())) == 1
    monkeypatch.setattr(journal_module, "FORGOTTEN_AFTER_S", -1.0)
    journal.forget_old()
    assert list(journal.folder.iterdir()) == []


def test_other_files_are_left_alone(home):
    reopened(home)
    (home / journal_module.FOLDER / "notes.txt").touch()
    assert reopened(home).take("d", again=True).mark


@pytest.mark.parametrize(
    "other",
    [
        ("q", b"b", {"zocalo.go.user": "you"}, None),
        ("q", b"c", {"zocalo.go.user": "me"}, None),
        ("r", b"b", {"zocalo.go.user": "me"}, None),
        ("q", b"b", {"zocalo.go.user": "me"}, "1"),
    ],
)
def test_messages_are_told_apart_by_what_stays_the_same(other):
    digest = digest_of("q", b"b", {"zocalo.go.user": "me"}, None)
    assert digest != digest_of(*other)
    assert digest == digest_of("q", b"b", {"zocalo.go.user": "me", "x-delivery-count": 1}, None)
