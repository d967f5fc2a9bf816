"""What is found on images in a row, drawn over their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tasks.diffraction.requests import ImageStatistics
from tasks.spots.finding import FoundSpots
from tasks.spots.plot_file import save
from tasks.spots.series import describe_series

DPI: Final = 150
TOTAL, NO_ICE, RESOLUTION, INTENSITY, FAILED = "#9db8d9", "#1f4e8c", "#c8502e", "#3f7f4f", "#b00020"
_FEW: Final = 200  # images, of which each has a marker


def plot_sweep(path: Path, found: Sequence[FoundSpots]) -> None:
    """Draw spots, estimated resolution and total intensity over image numbers, with gaps where an image failed.

    Parameters
    ----------
    path
        Its suffix says in which format.

    Raises
    ------
    PlotUnwritable
        It can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    series = describe_series([each.image for each in found])
    order = np.argsort(series.numbers, kind="stable")
    found = [found[place] for place in order]
    numbers, values = with_gaps([series.numbers[place] for place in order], found)
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    spots, resolution, intensity = figure.subplots(3, sharex=True, height_ratios=(3, 2, 2))
    style: dict[str, Any] = {"marker": "o" if len(found) <= _FEW else "", "markersize": 3.5, "linewidth": 1.2}
    spots.plot(numbers, values(lambda is_: is_.n_spots_total), color=TOTAL, label="total", **style)
    spots.plot(numbers, values(lambda is_: is_.n_spots_no_ice), color=NO_ICE, label="without ice", **style)
    spots.set_ylabel("spots")
    spots.set_ylim(0, _top(values(lambda is_: is_.n_spots_total)))
    known = values(lambda is_: is_.estimated_d_min if is_.estimated_d_min > 0 else np.nan)
    # With markers also where there are many: a single image between others without an estimate makes no line
    size = 3.5 if len(found) <= _FEW else 1.2
    resolution.plot(numbers, known, color=RESOLUTION, **style | {"marker": "o", "markersize": size})
    resolution.set_ylabel("estimated\nresolution / Å")
    resolution.invert_yaxis()  # better is higher
    if not np.isfinite(known).any():
        resolution.set_yticks([])
        resolution.text(0.5, 0.5, "too few spots to tell", transform=resolution.transAxes, ha="center", color="#666666")
    intensity.plot(numbers, values(lambda is_: is_.total_intensity), color=INTENSITY, **style)
    intensity.set_ylabel("total intensity\nwithout ice / counts")
    intensity.set_ylim(0, _top(values(lambda is_: is_.total_intensity)))
    intensity.set_xlabel(series.axis)
    intensity.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (spots, resolution, intensity):
        axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    _mark_failed(spots, [series.numbers[place] for place in order], found)
    # Above the points, wherever these are
    spots.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=3, fontsize=9, borderaxespad=0.1)
    title = f"{series.title}   ·   {len(found):,} image{'s' * (len(found) != 1)}"
    figure.suptitle(title, fontsize=12, parse_math=False)
    save(figure, path, DPI)


def with_gaps(
    numbers: Sequence[int], found: Sequence[FoundSpots]
) -> tuple[np.ndarray[Any, Any], Callable[[Callable[[ImageStatistics], float]], np.ndarray[Any, Any]]]:
    """Return the numbers to draw over, and what makes a value of each: NaN where there is none, so that a line ends.

    An infinite value is none.

    Numbers that aren't among those of the images make a gap too.
    """
    xs: list[float] = []
    shown: list[ImageStatistics | None] = []
    for number, each in zip(numbers, found, strict=True):
        if xs and number > xs[-1] + 1:
            xs.append(xs[-1] + 1)
            shown.append(None)
        xs.append(number)
        shown.append(each.analysis.statistics if each.analysis else None)

    def values(read: Callable[[ImageStatistics], float]) -> np.ndarray[Any, Any]:
        read_all = np.array([np.nan if each is None else read(each) for each in shown], dtype=float)
        return np.where(np.isfinite(read_all), read_all, np.nan)

    return np.array(xs), values


def _top(values: np.ndarray[Any, Any]) -> float:
    """Return where an axis from 0 ends, so that the highest point has room; 1 if there's none above 0.

    >>> _top(np.array([np.nan, 100.0])), _top(np.array([np.nan]))
    (106.0, 1.0)
    """
    highest = float(np.max(values, where=np.isfinite(values), initial=0.0))
    return 1.06 * highest or 1.0


def _mark_failed(axes: Any, numbers: Sequence[int], found: Sequence[FoundSpots]) -> None:
    failed = [number for number, each in zip(numbers, found, strict=True) if each.analysis is None]
    if failed:
        axes.plot(
            failed,
            [0.02] * len(failed),
            "x",
            color=FAILED,
            markersize=5,
            transform=axes.get_xaxis_transform(),
            label=f"{len(failed):,} failed",
        )
