"""Write NXmx as a Diamond Eiger does: a master with a virtual dataset over data files in bitshuffle-LZ4.

Data files are written here at rest; `tasks.simulation.placing` is what makes them grow under their readers' eyes.
HDF5_PLUGIN_PATH must not be set while writing: together with an imported hdf5plugin it breaks the filter.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from tasks.simulation.geometry import PIXEL_MM, SENSOR_MM, Geometry
from tasks.simulation.plan import CollectionPlan

# Pixels of gaps have the largest number of the type; real counts stay below.
GAP_VALUE, LARGEST_COUNT = 65535, 65000
LIBVER = ("v110", "v110")  # the oldest that SWMR and virtual datasets need
DATA = "data"
TRANSFORMATIONS = "/entry/sample/transformations/"
DET_Z = "/entry/instrument/detector/transformations/det_z"
MODULE_OFFSET = "/entry/instrument/detector/module/module_offset"


def data_file_lengths(plan: CollectionPlan) -> dict[str, int]:
    """Return the names of a plan's data files, in order, each with its number of images."""
    starts = range(0, plan.images, plan.images_per_file)
    return {
        f"{plan.prefix}_{number:06d}.h5": min(plan.images_per_file, plan.images - start)
        for number, start in enumerate(starts, start=1)
    }


def write_images(folder: Path, plan: CollectionPlan, images: Iterable[npt.NDArray[np.int32]]) -> None:
    """Write a plan's images into its data files.

    Parameters
    ----------
    images
        Counts, (height, width) each, -1 in gaps.
    """
    geometry, source = plan.geometry, iter(images)
    for name, length in data_file_lengths(plan).items():
        shape = (length, geometry.height, geometry.width)
        with h5py.File(folder / name, "w", libver=LIBVER) as file:
            # A chunk an image, as detectors write: the watcher sees an image by its chunk, and frames are copied chunk
            # by chunk.
            data = file.create_dataset(DATA, shape, "u2", chunks=(1, *shape[1:]), **hdf5plugin.Bitshuffle())
            for index in range(length):
                image = next(source)
                data[index] = np.where(image < 0, GAP_VALUE, np.minimum(image, LARGEST_COUNT)).astype("u2")


def write_master(folder: Path, plan: CollectionPlan, gaps: npt.NDArray[np.bool_]) -> Path:
    """Write a plan's master file and return it.

    Parameters
    ----------
    gaps
        True where the detector has no pixels, (height, width).
    """
    path = folder / f"{plan.prefix}.nxs"
    with h5py.File(path, "w", libver=LIBVER) as file:
        entry = _group(file, "entry", "NXentry", {"definition": "NXmx", "start_time": "2024-05-01T12:00:00Z"})
        _group(entry, "source", "NXsource", {"name": "Synthetic Light Source"})
        _link_data(_group(entry, "data", "NXdata"), plan)
        instrument = _group(entry, "instrument", "NXinstrument", {"name": "SYNTHETIC BEAMLINE"})
        _group(instrument, "beam", "NXbeam", {"incident_wavelength": (plan.geometry.wavelength_a, "angstrom")})
        _describe_detector(instrument, plan, gaps)
        _describe_sample(entry, plan)
    return path


def _link_data(data: h5py.Group, plan: CollectionPlan) -> None:
    geometry, lengths = plan.geometry, data_file_lengths(plan)
    frame = (geometry.height, geometry.width)
    layout = h5py.VirtualLayout((plan.images, *frame), dtype="u2")
    start = 0
    for name, length in lengths.items():
        layout[start : start + length] = h5py.VirtualSource(name, DATA, shape=(length, *frame), dtype="u2")
        start += length
    data.attrs["signal"] = np.string_("data")
    data.create_virtual_dataset("data", layout, fillvalue=0)
    # Diamond's masters have both: the virtual dataset, and the links of Dectris' own, which older readers follow
    for name in lengths:
        data[f"data_{Path(name).stem.rsplit('_', 1)[1]}"] = h5py.ExternalLink(name, DATA)


def _describe_detector(instrument: h5py.Group, plan: CollectionPlan, gaps: npt.NDArray[np.bool_]) -> None:
    """Say how the detector is made; `gaps` is True where it has no pixels, (height, width)."""
    geometry, pixel_m = plan.geometry, PIXEL_MM / 1000
    fields = {
        "description": f"Synthetic {geometry.detector.value.upper()}",
        "type": "Pixel",
        "sensor_material": "Si",
        "sensor_thickness": (SENSOR_MM / 1000, "m"),
        "saturation_value": LARGEST_COUNT,
        "underload_value": 0,
        "bit_depth_readout": 16,
        "count_time": (plan.exposure_s, "s"),
        "frame_time": (plan.exposure_s, "s"),
        "distance": (geometry.distance_mm / 1000, "m"),
        "x_pixel_size": (pixel_m, "m"),
        "y_pixel_size": (pixel_m, "m"),
        "beam_center_x": (geometry.beam_x_px, "pixel"),
        "beam_center_y": (geometry.beam_y_px, "pixel"),
        "depends_on": DET_Z,
    }
    detector = _group(instrument, "detector", "NXdetector", fields)
    detector.create_dataset("pixel_mask", data=gaps.astype("u4"), compression="gzip")
    _axis(
        _group(detector, "transformations", "NXtransformations"),
        "det_z",
        [geometry.distance_mm / 1000],
        kind="translation",
        vector=(0, 0, 1),
        depends_on=".",
        units="m",
    )
    _describe_module(detector, geometry)


def _describe_module(detector: h5py.Group, geometry: Geometry) -> None:
    size = {"data_origin": np.array([0, 0]), "data_size": np.array([geometry.height, geometry.width])}
    module = _group(detector, "module", "NXdetector_module", size)
    pixel_m = PIXEL_MM / 1000
    corner = np.array([geometry.beam_x_px * pixel_m, geometry.beam_y_px * pixel_m, 0.0])
    _axis(
        module, "module_offset", 0.0, kind="translation", vector=(0, 0, 0), depends_on=DET_Z, units="m", offset=corner
    )
    # NeXus' x points to the left along the beam, y up: the image's columns run to the right, its rows down
    for name, vector in (("fast_pixel_direction", (-1, 0, 0)), ("slow_pixel_direction", (0, -1, 0))):
        _axis(module, name, pixel_m, kind="translation", vector=vector, depends_on=MODULE_OFFSET, units="m")


def _describe_sample(entry: h5py.Group, plan: CollectionPlan) -> None:
    sample = _group(entry, "sample", "NXsample", {"name": "lysozyme", "depends_on": f"{TRANSFORMATIONS}omega"})
    _group(sample, "beam", "NXbeam", {"incident_wavelength": (plan.geometry.wavelength_a, "angstrom")})
    axes = _group(sample, "transformations", "NXtransformations")
    depends_on = "."
    if plan.grid is not None:
        columns, rows = (np.array(places) for places in zip(*plan.grid.cells(), strict=True))
        for name, places, vector in (
            ("sam_y", rows * plan.grid.dy_mm, (0, 1, 0)),
            ("sam_x", columns * plan.grid.dx_mm, (1, 0, 0)),
        ):
            _axis(axes, name, places, kind="translation", vector=vector, depends_on=depends_on, units="mm")
            depends_on = TRANSFORMATIONS + name
    starts = np.array(plan.starts_deg())
    angles = {"omega": starts} | ({"omega_end": starts + plan.width_deg} if plan.width_deg else {})
    for name, values in angles.items():
        _axis(axes, name, values, kind="rotation", vector=(-1, 0, 0), depends_on=depends_on, units="deg")


def _group(parent: h5py.Group, name: str, nx_class: str, fields: Mapping[str, Any] | None = None) -> h5py.Group:
    """Make an NX group; a field is a value, or (value, units)."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = np.string_(nx_class)
    for key, field in (fields or {}).items():
        value, units = field if isinstance(field, tuple) else (field, None)
        group[key] = np.string_(value) if isinstance(value, str) else value
        if units:
            group[key].attrs["units"] = np.string_(units)
    return group


def _axis(
    group: h5py.Group,
    name: str,
    values: Any,
    *,
    kind: str,
    vector: tuple[int, int, int],
    depends_on: str,
    units: str,
    offset: npt.NDArray[np.float64] | None = None,
) -> None:
    """Add an axis of NeXus' transformation chain.

    Parameters
    ----------
    values
        Where the axis stands, in `units`: a number, or (images,).
    vector
        Its direction, (x, y, z) of NeXus's laboratory.
    offset
        Where it begins, m: (3,), x, y, z.
    """
    axis = group.create_dataset(name, data=values)
    axis.attrs["transformation_type"] = np.string_(kind)
    axis.attrs["vector"] = np.array(vector, float)
    axis.attrs["depends_on"] = np.string_(depends_on)
    axis.attrs["units"] = np.string_(units)
    if offset is not None:
        axis.attrs["offset"] = offset
        axis.attrs["offset_units"] = np.string_("m")
