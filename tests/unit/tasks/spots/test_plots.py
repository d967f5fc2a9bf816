"""Plots: pictures for people, of which tests see that they are there, and what is drawn where."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

from tasks.diffraction.answers import Ring, SpotPicture
from tasks.diffraction.requests import ImageAnalysis, ImageStatistics
from tasks.spots import FoundSpots, Image
from tasks.spots.image_plot import describe, plot_image
from tasks.spots.plot_file import PlotUnwritable, require_plot_file
from tasks.spots.sweep_plot import plot_sweep, with_gaps

STATISTICS = ImageStatistics(2.5, 2.2, 2.0, 30, 90, 100, 0.1, 0.2, 12345.0)


def found(number, spots=100, *, file="m.nxs"):
    statistics = replace(STATISTICS, n_spots_total=spots, n_spots_no_ice=spots)
    return FoundSpots(Image(file, number, True), ImageAnalysis(statistics))


def failed(number):
    return FoundSpots(Image("m.nxs", number, True), None, "it isn't there")


def circle(d_a, radius, middle=(150.0, 200.0)):
    angles = np.radians(np.arange(0, 361))
    return Ring(d_a, np.stack([middle[0] + radius * np.cos(angles), middle[1] + radius * np.sin(angles)], axis=1))


@pytest.fixture
def picture():
    off_the_detector = Ring(1.0, np.where(circle(1.0, 600).places > 0, circle(1.0, 600).places, math.nan))
    return SpotPicture(
        shades=np.full((200, 150), 255, np.uint8),
        binning=2,
        spots=np.array([[50.0, 60.0], [200.0, 300.0]]),
        ice=np.array([[100.0, 30.0]]),
        beyond=np.empty((0, 2)),
        rings=(circle(5.0, 50), circle(4.0, 52), circle(3.0, 100), off_the_detector),
        beam=(150.0, 200.0),
        distance_mm=200.0,
        wavelength_a=0.98,
    )


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_an_image_is_drawn_in_the_format_of_the_suffix(tmp_path, picture, suffix):
    path = tmp_path / f"$x_1$.{suffix}"
    plot_image(path, "$x_1$ [b].cbf", STATISTICS, picture)
    assert path.stat().st_size > 1000
    assert [each.name for each in tmp_path.iterdir()] == [path.name], "nothing else is left"


def test_an_image_keeps_its_shape(tmp_path, picture):
    plot_image(tmp_path / "x.png", "x", STATISTICS, picture)
    with Picture.open(tmp_path / "x.png") as drawn:
        assert drawn.height > drawn.width


def test_an_image_without_anything_on_it_is_drawn(tmp_path, picture):
    nothing = np.empty((0, 2))
    plot_image(tmp_path / "x.png", "x", STATISTICS, replace(picture, spots=nothing, ice=nothing, rings=(), beam=None))
    assert (tmp_path / "x.png").exists()


def test_the_title_says_the_main_numbers():
    assert describe(STATISTICS) == (
        "100 spots, 90 without ice, 30 at d > 4 Å   ·   estimated resolution 2.00 Å   ·   total intensity 12,345"
    )
    assert "1 spot, " in describe(replace(STATISTICS, n_spots_total=1))
    for no_resolution in (-1.0, math.nan, math.inf):
        assert "estimated resolution unknown" in describe(replace(STATISTICS, estimated_d_min=no_resolution))


def test_a_line_ends_where_an_image_failed_or_is_missing():
    numbers, values = with_gaps([1, 2, 3, 7], [found(1, 10), failed(2), found(3, 30), found(7, 70)])
    assert list(numbers) == [1, 2, 3, 4, 7]
    spots = values(lambda statistics: statistics.n_spots_total)
    assert np.array_equal(spots, [10, math.nan, 30, math.nan, 70], equal_nan=True)


@pytest.mark.parametrize("sweep", [[found(1), failed(2), found(3)], [found(number) for number in range(3, 0, -1)]])
def test_a_sweep_is_drawn(tmp_path, sweep):
    plot_sweep(tmp_path / "sweep.png", sweep)
    assert (tmp_path / "sweep.png").stat().st_size > 1000


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_sweep_whose_every_intensity_and_resolution_is_no_number_is_drawn(tmp_path, value):
    statistics = replace(STATISTICS, total_intensity=value, estimated_d_min=value)
    sweep = [FoundSpots(Image("m.nxs", number, True), ImageAnalysis(statistics)) for number in (1, 2)]
    plot_sweep(tmp_path / "sweep.png", [*sweep, failed(3)])
    assert (tmp_path / "sweep.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("x", "expected a name that ends in"),
        ("x.cbf", "expected a name that ends in .*png"),
        ("nowhere/x.png", "nowhere/x.png can't be written: No such file"),
        ("folder.png", "folder.png can't be written: it's a folder"),
    ],
)
def test_a_plot_that_can_not_be_written_is_refused_before_the_work(tmp_path, path, complaint):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PlotUnwritable, match=complaint):
        require_plot_file(tmp_path / path)


def test_asking_whether_a_plot_can_be_written_leaves_nothing(tmp_path):
    require_plot_file(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
