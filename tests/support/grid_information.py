"""What ISPyB's table GridInfo says of a grid scan, as recipes hand it to centring."""

from typing import Any


def grid_information(steps_x: int, steps_y: int, **more: Any) -> dict[str, Any]:
    """Return the information on a grid of so many images: by default of 20 μm boxes, each row from the left."""
    return {
        **{"steps_x": steps_x, "steps_y": steps_y, "dx_mm": 0.02, "dy_mm": 0.02},
        **{"micronsPerPixelX": 1, "micronsPerPixelY": 1, "snapshot_offsetXPixel": 0, "snapshot_offsetYPixel": 0},
        **{"snaked": 0, "orientation": "horizontal"},
        **more,
    }


SNAKED_GRID = grid_information(
    *(3, 2),
    dy_mm=0.04,
    micronsPerPixelX=2.0,
    micronsPerPixelY=2.0,
    snapshot_offsetXPixel=100,
    snapshot_offsetYPixel=200,
    snaked=1,
)
