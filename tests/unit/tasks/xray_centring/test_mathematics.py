import numpy as np
import pytest

from tasks.xray_centring.mathematics import (
    Grid,
    Orientation,
    arrange_grid,
    draw_grid,
    find_centre,
    well_at,
    well_limits,
)


def make_grid(steps, snaked=False, orientation="horizontal", box=(10.0, 20.0), offset=(100.0, 200.0)):
    return Grid(steps, box, offset, snaked, Orientation(orientation))


@pytest.mark.parametrize(
    ("orientation", "snaked", "rows"),
    [
        ("horizontal", False, [[1, 2, 3], [4, 5, 6]]),
        ("horizontal", True, [[1, 2, 3], [6, 5, 4]]),
        ("vertical", False, [[1, 3, 5], [2, 4, 6]]),
        ("vertical", True, [[1, 4, 5], [2, 3, 6]]),
    ],
)
def test_images_are_put_where_they_were_taken(orientation, snaked, rows):
    collected = np.arange(1, 7)
    arranged = arrange_grid(collected, make_grid((3, 2), snaked, orientation))
    assert arranged.tolist() == rows
    assert collected.tolist() == [1, 2, 3, 4, 5, 6], "the input must not change"


@pytest.mark.parametrize(
    ("name", "rows", "region", "centre", "max_voxel", "total"),
    [
        ("one box", [[0, 0, 0], [0, 9, 0]], [(1, 1)], (1.5, 1.5), (1, 1), 9),
        ("below half is left out", [[4, 10, 4], [4, 4, 4]], [(0, 1)], (1.5, 0.5), (1, 0), 10),
        ("half belongs to it", [[5, 10, 4], [4, 4, 4]], [(0, 0), (0, 1)], (1.0, 0.5), (1, 0), 15),
        ("corners touch", [[9, 0, 0], [0, 8, 0]], [(0, 0), (1, 1)], (1.0, 1.0), (0, 0), 17),
        (
            "the largest region wins, not the strongest",
            [[10, 0, 6], [0, 0, 7]],
            [(0, 2), (1, 2)],
            (2.5, 1.0),
            (2, 1),
            13,
        ),
        ("of equal regions the first", [[6, 0, 10], [0, 0, 0]], [(0, 0)], (0.5, 0.5), (0, 0), 6),
        ("uniform is one region", [[7, 7], [7, 7]], [(0, 0), (0, 1), (1, 0), (1, 1)], (1.0, 1.0), (0, 0), 28),
        ("the centroid has no weights", [[10, 5, 5]], [(0, 0), (0, 1), (0, 2)], (1.5, 0.5), (0, 0), 20),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_centre_is_that_of_the_largest_strong_region(name, rows, region, centre, max_voxel, total):
    counts = np.array(rows)
    result = find_centre(counts.ravel(), make_grid((counts.shape[1], counts.shape[0])))
    assert (result.status, result.message) == ("ok", "ok")
    assert result.best_region == region
    assert result.n_voxels == len(region)
    assert (result.centre_x_box, result.centre_y_box) == centre == result.centre_of_mass
    assert (result.centre_x, result.centre_y) == (100 + 10 * centre[0], 200 + 20 * centre[1])
    assert result.max_voxel == max_voxel
    assert result.total_count == total
    assert result.max_count == result.reflections_in_best_image == counts.max()


def test_best_image_counts_in_order_of_collection():
    snaked = np.array([0, 0, 0, 0, 0, 8])  # the last image of a snake lies at the left of the second row
    result = find_centre(snaked, make_grid((3, 2), snaked=True))
    assert result.best_image == 6
    assert result.max_voxel == (0, 1)


@pytest.mark.parametrize("orientation", ["horizontal", "vertical"])
@pytest.mark.parametrize("snaked", [True, False])
def test_known_crystal_is_found_however_it_was_scanned(orientation, snaked):
    steps, truth = (12, 8), (6.7, 3.2)
    x, y = np.meshgrid(np.arange(steps[0]) + 0.5, np.arange(steps[1]) + 0.5)
    rows = np.round(180 * np.exp(-((x - truth[0]) ** 2 + (y - truth[1]) ** 2) / 4)).astype(int)
    lines = rows if orientation == "horizontal" else rows.T
    lines = lines.copy()
    if snaked:
        lines[1::2] = lines[1::2, ::-1].copy()
    result = find_centre(lines.ravel(), make_grid(steps, snaked, orientation))
    assert result.centre_of_mass == pytest.approx(truth, abs=0.3)


def test_grid_without_spots_fails_and_says_so():
    result = find_centre(np.zeros(6, dtype=int), make_grid((3, 2)))
    assert (result.status, result.message) == ("fail", "No good images found")
    assert (result.steps, result.box_size_px, result.snapshot_offset) == ((3, 2), (10.0, 20.0), (100.0, 200.0))
    assert result.centre_x is result.best_image is result.best_region is result.sample_id is None


def test_drawing_shows_what_counts():
    assert draw_grid(np.array([4, 10, 5, 0]), make_grid((2, 2))) == " . 10\n 5  ."
    assert draw_grid(np.zeros(2, dtype=int), make_grid((2, 1))) == ". ."


@pytest.mark.parametrize(
    ("loop_type", "limits"),
    [
        ("multipin_3x50+20", ((-0.5, 4.5), (4.5, 9.5), (9.5, 14.5))),
        ("multipin_1x2.5+10", ((0.875, 1.125),)),
        ("multipin_3x50", ()),
        ("Litholoop", ()),
        (None, ()),
    ],
)
def test_wells_lie_along_x(loop_type, limits):
    assert sum(well_limits(loop_type, step_um=10), ()) == pytest.approx(sum(limits, ()))


@pytest.mark.parametrize(("x", "well"), [(-0.6, None), (-0.5, 1), (4.5, 1), (4.6, 2), (14.5, 3), (14.6, None)])
def test_well_borders_belong_to_the_first(x, well):
    assert well_at(x, well_limits("multipin_3x50+20", 10)) == well
