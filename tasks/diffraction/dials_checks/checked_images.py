"""Which images of a node DIALS does too."""

from __future__ import annotations

import zlib


class CheckedImages:
    """Decides which images DIALS does too, so that a check says something.

    One in some is asked for as it comes. One that proves nothing (neither way found a spot, or no result came of it)
    is made up for: the next image on which Plaza's own way finds spots is checked in its place; as that way may miss
    them all, of those without spots the next one is, too, then the second after that, the fourth, the eighth and so on.

    Parameters
    ----------
    one_in
        One image in so many; 1: all; 0: none.
    recipe_run
        Makes it others from run to run.
    done
        Images of the node that earlier processes did.
    proven
        Checks of theirs that have proved something.
    """

    def __init__(self, one_in: int, recipe_run: str, done: int = 0, proven: int = 0) -> None:
        self._one_in, self._run, self._place = one_in, recipe_run, done
        self._under_way: set[int] = set()
        self._is_owed = one_in > 1 and proven < count_checked(done, one_in, recipe_run)
        self._passed, self._gap = 0, 1  # images since the last check, and after how many there's another anyway
        self._was_lost = False

    def ask(self, number: int, *, again: bool) -> bool:
        """Decide for an image, by its message's number, when it's asked for; `again`: it was before."""
        if not again:
            place, self._place = self._place, self._place + 1
            if is_checked(place, self._one_in, self._run):
                self._under_way.add(number)
        elif self._one_in == 1:
            self._under_way.add(number)
        return number in self._under_way

    def wants(self, number: int, *, has_spots: bool) -> bool:
        """Decide whether an image that Plaza's own way has done is to be checked after all: one at a time."""
        if not self._is_owed or self._under_way:
            return False
        self._passed += 1
        # Where images are lost by being checked, spots aren't enough: it isn't to cost all of them
        if self._passed < self._gap and (self._was_lost or not has_spots):
            return False
        self._passed, self._gap = 0, 2 * self._gap
        self._under_way.add(number)
        return True

    @property
    def is_owed(self) -> bool:
        """Whether the last check proved nothing, and none has been made in its place."""
        return self._is_owed and not self._under_way

    def note_checked(self, number: int, *, proves: bool) -> None:
        """Take in that an image was checked, and whether it proves anything."""
        self._under_way.discard(number)
        self._is_owed, self._was_lost = not proves and self._one_in > 1, False
        if proves:
            self._passed, self._gap = 0, 1

    def note_lost(self, number: int) -> None:
        """Take in that nothing came of an image this time."""
        if number in self._under_way:
            self._under_way.discard(number)
            self._is_owed = self._was_lost = self._one_in > 1


def is_checked(place: int, one_in: int, recipe_run: str) -> bool:
    """Decide whether an image is checked by its place: just one of any `one_in` that follow one another is.

    Which one it is differs from run to run, so that runs of few images, or of one, have their share.

    Parameters
    ----------
    place
        Of the image in its node, from 0.
    one_in
        0: none is.

    >>> [place for place in range(20) if is_checked(place, 5, "0b1c2d3e")]
    [0, 5, 10, 15]
    """
    return one_in > 0 and place % one_in == zlib.crc32(recipe_run.encode()) % one_in


def count_checked(done: int, one_in: int, recipe_run: str) -> int:
    """Return how many of the first images are checked by their place.

    >>> count_checked(12, 5, "0b1c2d3e")
    3
    """
    if one_in == 0:
        return 0
    return (done + one_in - 1 - zlib.crc32(recipe_run.encode()) % one_in) // one_in
