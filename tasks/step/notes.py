"""What a step says of its work in numbers: "200 images", "12 of 200 images by DIALS: their gain isn't 1".

Notes of the same words add up, in one process and over all that have the run. They're kept with the run and shown with
its steps; one that warns is also said where the run's end is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

MOST_NOTES: Final = 40  # of different words; what is beyond is counted together
MOST_CHARACTERS: Final = 400  # of a note's words
OTHERS: Final = "of other kinds, more than are told apart"


class Note(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """So many of something.

    Parameters
    ----------
    text
        What they are, in words that follow the number; by them notes add up.
    of
        The words of the note that counts all of which they're a part; None: they're no part.
    is_warning
        Somebody should look at it.
    """

    text: str
    count: int = 1
    of: str | None = None
    is_warning: bool = False


class Notes:
    """A step's notes, summed up by their words, in the order in which these came; a bounded number of them."""

    def __init__(self, notes: Iterable[Note] = ()) -> None:
        self._notes: dict[str, Note] = {}
        self.add(*notes)

    def add(self, *notes: Note) -> None:
        """Add what some notes count."""
        known = self._notes
        for note in notes:
            text = note.text if len(note.text) <= MOST_CHARACTERS else f"{note.text[: MOST_CHARACTERS - 1]}…"
            if text not in known and len(known) >= MOST_NOTES:
                text = OTHERS
            before = known.get(text)
            count, is_warning = note.count, note.is_warning
            if before is not None:
                count, is_warning = count + before.count, is_warning or before.is_warning
            known[text] = Note(text, count, note.of, is_warning)

    def counts(self) -> dict[str, int]:
        """Return how many there are, by the notes' words."""
        return {note.text: note.count for note in self}

    def words(self, note: Note) -> str:
        """Say one of these notes.

        >>> notes = Notes([Note("images", 200), Note("images by DIALS", 12, of="images")])
        >>> [notes.words(note) for note in notes]
        ['200 images', '12 of 200 images by DIALS']
        """
        whole = self._notes.get(note.of) if note.of is not None else None
        return f"{note.count} of {whole.count} {note.text}" if whole else f"{note.count} {note.text}"

    def lines(self) -> list[str]:
        """Say all of them, those that warn first."""
        return [self.words(note) for note in sorted(self, key=lambda note: not note.is_warning)]

    def warnings(self) -> list[str]:
        """Say those that warn."""
        return [self.words(note) for note in self if note.is_warning]

    def __iter__(self) -> Iterator[Note]:
        return iter(self._notes.values())

    def __len__(self) -> int:
        return len(self._notes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes) and self._notes == other._notes

    __hash__ = None  # type: ignore[assignment] # it changes
