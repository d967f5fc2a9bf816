"""The synthetic crystal: lysozyme, its orientation, and where and how strongly it diffracts.

Positions are those of DIALS' own predictor on models that dxtbx reads from an image of ours, so that what writes
the images and what reads them can't disagree.
"""

import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cctbx import crystal, miller
from dials.algorithms.spot_prediction import ScanStaticReflectionPredictor
from dials.array_family import flex  # noqa: F401 - DIALS' reflection tables can't come back from C++ without it
from dxtbx.model import Crystal, Experiment
from dxtbx.model.experiment_list import ExperimentListFactory
from scitbx import matrix

from tasks.simulation.image_making.minicbf import write_cbf
from tasks.simulation.plan import CollectionPlan

Floats = npt.NDArray[np.float64]

UNIT_CELL = (78.0, 78.0, 37.0, 90.0, 90.0, 90.0)  # Å and degrees: tetragonal lysozyme
SPACE_GROUP = "P43212"
# Axes and degrees of rotations. No crystal axis is along the spindle or the beam.
ORIENTATION = (((1.0, 0.3, 0.2), 37.0), ((0.1, 1.0, -0.4), 71.0))
MOSAICITY_DEG = 0.12  # standard deviation
WILSON_B = 18.0  # Å²
# So near the spindle a reflection is in reflecting position for whole turns: DIALS doesn't use it either, as its
# integration.filter.min_zeta is 0.05.
SMALLEST_ZETA = 0.03
LARGEST_LORENTZ = 50.0  # or reflections near the spindle or the beam would outshine all others
THE_CRYSTAL = 7  # seed of its structure: plans' seeds are for noise, the crystal is always the same


@dataclass(frozen=True)
class Reflections:
    """Reflections of a whole data collection, one array element each: all arrays are (reflections,).

    Parameters
    ----------
    x, y
        Centre in pixels along the fast and the slow axis, from the outer corner of the first pixel.
    phi_deg
        Rotation at which it is in reflecting position.
    spread_deg
        Standard deviation of its rocking curve.
    counts
        Counts over its whole rocking curve.
    """

    x: Floats
    y: Floats
    phi_deg: Floats
    spread_deg: Floats
    counts: Floats

    def __len__(self) -> int:
        return len(self.x)

    def select(self, which: npt.NDArray[np.bool_]) -> "Reflections":
        """Return those that a mask, (reflections,), is True for."""
        return Reflections(*(getattr(self, field.name)[which] for field in fields(self)))


def place_crystal(plan: CollectionPlan) -> Any:
    """Return a dxtbx Experiment of the whole data collection, with the crystal in it."""
    geometry = plan.geometry
    with tempfile.TemporaryDirectory() as folder:
        blank = Path(folder) / "blank_00001.cbf"
        dark = np.zeros((geometry.height, geometry.width), np.int32)
        width_deg = plan.width_deg or 1.0
        write_cbf(blank, dark, geometry, start_deg=plan.start_deg, width_deg=width_deg, exposure_s=plan.exposure_s)
        experiment: Experiment = ExperimentListFactory.from_filenames([str(blank)])[0]
    # One wide "image" a rotation range: the predictor only needs to know how far the crystal turns.
    turned = plan.starts_deg()[-1] + (plan.width_deg or 0.5) - plan.start_deg
    experiment.scan.set_image_range((1, 1))
    experiment.scan.set_oscillation((plan.start_deg, turned))
    a, b, c = _real_space_axes()
    experiment.crystal = Crystal(a, b, c, space_group_symbol=SPACE_GROUP)
    return experiment


def _real_space_axes() -> list[Any]:
    """Return a, b and c in the laboratory's frame, (x, y, z) in Å each."""
    rotation = matrix.sqr((1, 0, 0, 0, 1, 0, 0, 0, 1))
    for axis, angle_deg in ORIENTATION:
        rotation = rotation * matrix.col(axis).normalize().axis_and_angle_as_r3_rotation_matrix(angle_deg, deg=True)
    fractionalization = crystal.symmetry(UNIT_CELL, SPACE_GROUP).unit_cell().fractionalization_matrix()
    axes = (rotation * matrix.sqr(fractionalization).transpose()).inverse().elems
    return [axes[index : index + 3] for index in (0, 3, 6)]


def predict(experiment: Any, plan: CollectionPlan) -> Reflections:
    """Predict the data collection's reflections, with the Lorentz and polarisation factors in their counts.

    Parameters
    ----------
    experiment
        A dxtbx Experiment with the crystal and the whole rotation range (see `place_crystal`).
    """
    predictor = ScanStaticReflectionPredictor(experiment, dmin=plan.resolution_a, padding=1.0)
    table = predictor.for_ub(experiment.crystal.get_A())
    s1, s0 = table["s1"].as_numpy_array(), np.array(experiment.beam.get_s0())
    # Kabsch's zeta (Acta Cryst. D66 (2010) 133-144): how squarely the rotation takes a reflection through the Ewald
    # sphere. It stays in reflecting position 1/zeta times as long as one that goes straight through.
    e1 = np.cross(s1, s0)
    length = np.linalg.norm(e1, axis=1)
    sin_2theta = length / (s0 @ s0)
    zeta = np.abs(e1 @ np.array(experiment.goniometer.get_rotation_axis())) / length
    usable = zeta > SMALLEST_ZETA
    lorentz = np.minimum(1 / (sin_2theta * np.where(usable, zeta, 1.0)), LARGEST_LORENTZ)
    # of an unpolarised beam, (1 + cos² 2theta) / 2: nothing that reads the images looks for more
    polarisation = 0.5 * (2 - sin_2theta**2)
    counts = plan.strength * _intensities(table["miller_index"], plan.resolution_a) * lorentz * polarisation
    x, y, _ = (column.as_numpy_array() for column in table["xyzcal.px"].parts())
    phi_deg = np.degrees(table["xyzcal.mm"].parts()[2].as_numpy_array())
    spread_deg = MOSAICITY_DEG / np.where(usable, zeta, 1.0)
    return Reflections(x, y, phi_deg, spread_deg, counts).select(usable)


def _intensities(indices: Any, resolution_a: float) -> Floats:
    """Give each reflection a Wilson-distributed intensity that obeys the space group's symmetry and absences.

    Parameters
    ----------
    indices
        Miller indices, a flex array of (reflections,).

    Returns
    -------
    NDArray
        Intensities, (reflections,); the average at low resolution is 1.
    """
    symmetry = crystal.symmetry(UNIT_CELL, space_group_symbol=SPACE_GROUP)
    # One intensity for all that symmetry makes equal, Friedel's mates among them: there is no anomalous scatterer.
    unique = miller.build_set(symmetry, anomalous_flag=False, d_min=resolution_a * 0.98)  # those at the limit too
    wilson = np.random.default_rng(THE_CRYSTAL).exponential(1.0, unique.size())
    # exp(-2 B s²) with s = sin(theta)/wavelength = d*/2
    wilson *= np.exp(-WILSON_B * unique.d_star_sq().data().as_numpy_array() / 2)
    known = dict(zip(unique.indices(), wilson, strict=True))
    mapped = miller.set(symmetry, indices, anomalous_flag=False).map_to_asu().indices()
    return np.array([known.get(index, 0.0) for index in mapped])  # systematic absences aren't in the unique set
