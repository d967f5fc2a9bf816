import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.simulation.grid_scan import GridScan


def zocalo_reshape(values, grid):
    """Turn values in order of collection into an array [x][y], as Zocalo's X-ray centring does."""
    if grid.orientation == "horizontal":
        array = np.array(values).reshape(grid.steps_y, grid.steps_x).T.copy()
        if grid.snaked:
            array[:, 1::2] = array[::-1, 1::2]
    else:
        array = np.array(values).reshape(grid.steps_x, grid.steps_y)
        if grid.snaked:
            array[1::2, :] = array[1::2, ::-1]
    return array


@pytest.mark.parametrize(
    ("orientation", "snaked", "order"),
    [
        ("horizontal", False, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]),
        ("horizontal", True, [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1)]),
        ("vertical", False, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
        ("vertical", True, [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1)]),
    ],
)
def test_images_run_over_the_grid_as_the_scan_does(orientation, snaked, order):
    assert list(GridScan(steps_x=3, steps_y=2, orientation=orientation, snaked=snaked).cells()) == order


@given(
    st.builds(
        GridScan,
        steps_x=st.integers(1, 9),
        steps_y=st.integers(1, 9),
        orientation=st.sampled_from(["horizontal", "vertical"]),
        snaked=st.booleans(),
    )
)
def test_centring_puts_each_image_back_into_its_cell(grid):
    cells = zocalo_reshape([100 * x + y for x, y in grid.cells()], grid)
    assert cells.tolist() == [[100 * x + y for y in range(grid.steps_y)] for x in range(grid.steps_x)]
