"""A file for a plot: whether it can be written is known before hours of work."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from blocks.errors import PlazaError
from tasks.confinement import opened, replace_file


class PlotUnwritable(PlazaError):
    """A plot can't be written where it was asked for."""


def require_plot_file(path: Path) -> None:
    """Make sure that a plot can be written.

    Raises
    ------
    PlotUnwritable
        Its suffix says no format that matplotlib writes, or there's no place for it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    known = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise PlotUnwritable(f"the plot {path}: expected a name that ends in .{', .'.join(sorted(known))}")
    if path.is_dir():
        raise PlotUnwritable(f"the plot {path} can't be written: it's a folder")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def save(figure: Any, path: Path, dpi: int) -> None:
    """Write a figure; the file has its name once it's whole.

    Raises
    ------
    PlotUnwritable
        It can't be written.
    """
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, dpi=dpi, format=path.suffix.lower().removeprefix("."))
        with opened(path.parent) as folder:
            replace_file(path.name, drawn.getvalue(), folder)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> PlotUnwritable:
    return PlotUnwritable(f"the plot {path} can't be written: {error.strerror or error}")
