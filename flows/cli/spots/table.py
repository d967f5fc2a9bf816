"""The table of `plaza spots`, a row at a time: columns have their places before all rows are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from flows.display_text import one_line
from tasks.diffraction.requests import ImageStatistics
from tasks.spots import Image
from tasks.spots.series import short_names

NARROWEST, WIDEST = 80, 120
NONE: Final = "–"

_COLUMNS: Final = (
    ("spots", "total", 7),
    ("", "no ice", 7),
    ("", "d>4 Å", 7),
    ("resolution / Å", "est.", 7),
    ("", "DISTL1", 7),
    ("", "DISTL2", 7),
    ("noisiness", "1", 6),
    ("", "2", 6),
    ("intensity", "total", 11),
)
_ROOM: Final = sum(width for *_, width in _COLUMNS)
_TITLES: Final = ((0, 3), (3, 6), (6, 8), (8, 9))  # columns under one


class SpotTable:
    """Lines of a table.

    Parameters
    ----------
    width
        Of the terminal, columns; None: names may be as long as they are.
    """

    def __init__(self, images: Sequence[Image], width: int | None) -> None:
        self._shared, names = short_names(images)
        self._names = dict(zip(images, map(one_line, names), strict=True))
        longest = max(map(len, self._names.values()), default=0)
        room = longest if width is None else min(max(width, NARROWEST), WIDEST) - _ROOM
        self._width = max(len("image"), min(longest, room))

    def head(self) -> Iterator[Text]:
        """Yield the lines above the rows."""
        if self._shared:
            yield Text(one_line(self._shared), style="bold")
        titles = "".join(
            _COLUMNS[first][0]
            .center(sum(width for *_, width in _COLUMNS[first:end]) - 2)
            .rjust(sum(width for *_, width in _COLUMNS[first:end]))
            for first, end in _TITLES
        )
        yield Text((" " * self._width + titles).rstrip(), style="bold")
        names = "".join(name.rjust(width) for _, name, width in _COLUMNS)
        yield Text("image".ljust(self._width) + names, style="bold")

    def row(self, image: Image, statistics: ImageStatistics) -> str:
        """Return the line of an image."""
        name = self._names[image]
        if len(name) > self._width:  # its end tells images apart
            name = "…" + name[len(name) - self._width + 1 :]
        cells = (
            f"{statistics.n_spots_total:,}",
            f"{statistics.n_spots_no_ice:,}",
            f"{statistics.n_spots_4A:,}",
            _number(statistics.estimated_d_min),
            _number(statistics.d_min_distl_method_1),
            _number(statistics.d_min_distl_method_2),
            _number(statistics.noisiness_method_1),
            _number(statistics.noisiness_method_2),
            _intensity(statistics.total_intensity),
        )
        return name.ljust(self._width) + "".join(
            cell.rjust(width) for cell, (*_, width) in zip(cells, _COLUMNS, strict=True)
        )


def _number(value: float) -> str:
    return NONE if value < 0 else f"{value:.2f}"


def _intensity(value: float) -> str:
    return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3e}"
