"""What is wrong with a recipe, in a line."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a recipe.

    Parameters
    ----------
    place
        The node, or whatever else it is about; empty if `what` says so.
    what, expected, seen
        The finding, in this order.
    meant
        What may have been meant instead.
    is_warning
        It may be as it should be.
    """

    place: str
    what: str
    expected: str = ""
    seen: str = ""
    meant: str | None = None
    is_warning: bool = False

    def at(self, place: str, path: str) -> Finding:
        """Return the same finding with its place, and the way to it within that."""
        return replace(self, place=f"{place}: {path}" if path else place)

    def __str__(self) -> str:
        parts = [
            f"{'warning: ' if self.is_warning else ''}{self.what}",
            f"expected {self.expected}" if self.expected else "",
            f"seen {self.seen}" if self.seen else "",
        ]
        place = f"{self.place}: " if self.place else ""
        meant = f"; did you mean {self.meant!r}?" if self.meant else ""
        text = place + ", ".join(part for part in parts if part) + meant
        return text.replace("\n", " ")  # a line, whatever a step says
