"""A file for a plot: whether it can be written is known before hours of work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from blocks.errors import PlazaError


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
    kind = path.suffix.lower().removeprefix(".")
    try:
        number, name = tempfile.mkstemp(suffix=path.suffix, prefix=".plot-", dir=path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                figure.savefig(file, dpi=dpi, format=kind)
            # as a file that is made is: mkstemp's is for nobody else
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> PlotUnwritable:
    return PlotUnwritable(f"the plot {path} can't be written: {error.strerror or error}")
