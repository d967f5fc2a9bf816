"""What the demo shows: spots and resolution per image as a plot (PNG, terminal), a preview in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

PLOT_COLUMNS, PLOT_ROWS = 76, 13


def plot_file(path: Path, title: str, images: Sequence[int], spots: Sequence[int], d_min: Sequence[float]) -> Path:
    """Plot spots and estimated resolution (Å) by image number into a PNG file.

    A resolution of -1 means that there were too few spots to tell: such images have none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    left.bar(images, spots, color="#3d6fb4", width=0.9)
    left.set(title=title, xlabel="image", ylabel="spots")
    known = [(image, resolution) for image, resolution in zip(images, d_min, strict=True) if resolution > 0]
    if known:
        right = left.twinx()
        right.plot(*zip(*known, strict=True), "o", color="#c8502e", markersize=4)
        right.set_ylabel("estimated resolution / Å", color="#c8502e")
        right.invert_yaxis()  # better is higher
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def plot_text(title: str, images: Sequence[int], values: Sequence[float]) -> Text:
    """Plot one value an image for the terminal, as bars."""
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.plot_size(PLOT_COLUMNS, PLOT_ROWS)
    figure.draw(figure.bar(list(images), list(values), width=0.6))
    figure.title(title)
    return Text(Text.from_ansi(str(figure.build())).plain, style="cyan")  # its own colours assume a white terminal


def picture_text(path: Path, columns: int = 60) -> Text:
    """Draw a picture in the terminal: a half block shows two pixels, one above the other."""
    from PIL import Image

    with Image.open(path) as picture:
        rows = round(columns * picture.height / picture.width / 2) * 2
        pixels = picture.convert("L").resize((columns, rows), Image.Resampling.LANCZOS).load()
    text = Text()
    for row in range(0, rows, 2):
        for column in range(columns):
            above, below = pixels[column, row], pixels[column, row + 1]
            text.append("▀", style=f"rgb({above},{above},{above}) on rgb({below},{below},{below})")
        text.append("\n")
    return text
