"""What Plaza's own way of finding spots isn't proven for."""

from __future__ import annotations


class LeftToDials(Exception):
    """An image that DIALS is to do.

    Parameters
    ----------
    reason
        A short phrase that names no image: images with the same reason have the same phrase, and are counted by it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
