"""Options of spot finding as DIALS takes them."""

from __future__ import annotations

from typing import Any

import libtbx
from dials.command_line.find_spots import phil_scope

from tasks.diffraction.requests import SpotFindingOptions


def read_phil(options: SpotFindingOptions) -> Any:
    """Return DIALS's spot finding parameters, without resolution limits: as `work()` does, spots are chosen by them."""
    arguments = [
        f"spotfinder.threshold.algorithm={options.threshold_algorithm}",
        f"spotfinder.filter.disable_parallax_correction={options.disable_parallax_correction}",
        "spotfinder.write_hot_mask=False",  # else a file is written for each image
    ]
    # Not phil_scope.extract(): the template of `untrusted` then counts as an area, masks all of panel 0, and no spot is
    # found, without an error.
    interpreter = phil_scope.command_line_argument_interpreter()
    scope, unknown = interpreter.process_and_fetch(arguments, custom_processor="collect_remaining")
    assert not unknown, f"DIALS doesn't know {unknown}"
    return scope.extract()


def smallest_spot(phil: Any, detector: Any) -> int:
    """Return how many pixels a spot has at least, as flex.reflection_table.from_observations decides."""
    if phil.spotfinder.filter.min_spot_size is not libtbx.Auto:
        return int(phil.spotfinder.filter.min_spot_size)
    return 3 if detector[0].get_type() == "SENSOR_PAD" else 6
