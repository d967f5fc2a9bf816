"""How far a crystal turns between the images of a master."""

import math

import h5py
import numpy as np
import pytest

from tasks.simulation.file_groups import UnusableImages
from tasks.simulation.scan_angles import read_step
from tests.support.masters import write_link


@pytest.fixture
def master(tmp_path):
    """A function that writes a master whose sample depends on axes (name, angles), the innermost first."""

    def write(*axes, units="deg", relative=False, as_array=False, entry="entry"):
        with h5py.File(tmp_path / "scan.nxs", "w") as file:
            for name, nx_class in ((entry, "NXentry"), (f"{entry}/sample", "NXsample")):
                file.require_group(name).attrs["NX_class"] = np.bytes_(nx_class)
            folder = f"/{entry}/sample/transformations/"
            names = [folder + name for name, _ in axes] + ["."]
            first = f"transformations/{axes[0][0]}" if relative and axes else names[0]
            file[f"/{entry}/sample/depends_on"] = np.array([first.encode()]) if as_array else first
            for (name, angles), after in zip(axes, names[1:], strict=True):
                axis = file.create_dataset(folder + name, data=angles)
                axis.attrs["transformation_type"] = np.bytes_("rotation")
                axis.attrs["depends_on"] = np.bytes_(after.removeprefix(folder) if relative else after)
                axis.attrs["units"] = np.bytes_(units)
        return tmp_path / "scan.nxs"

    return write


@pytest.mark.parametrize("layout", [{}, {"relative": True}, {"as_array": True}, {"entry": "scan_2"}])
def test_step_is_read_from_the_axis_that_turns(master, layout):
    path = master(("phi", [0.0] * 4), ("chi", 30.0), ("omega", [10.0, 55.0, 100.0, 145.0]), **layout)
    assert read_step(path, 4) == pytest.approx(45)


@pytest.mark.parametrize(
    ("angles", "images", "step"),
    [
        ([0.0, 0.1, 0.2, 0.3], 4, 0.1),
        ([0.3, 0.2, 0.1, 0.0], 4, -0.1),
        ([0.0, 0.1001, 0.1999, 0.3], 4, 0.1),  # measured, not set
        ([0.0, 0.1, 0.2, 90.0], 3, 0.1),  # of more images than there are
        ([7.0, 7.0, 7.0], 3, 0.0),
        ([7.0], 1, None),
        (7.0, 3, None),
        ([0.0, 0.1], 3, None),
    ],
)
def test_step_is_that_of_all_images(master, angles, images, step):
    found = read_step(master(("omega", angles)), images)
    assert found == (step if step is None else pytest.approx(step))


def test_radians_are_turned_to_degrees(master):
    assert read_step(master(("omega", [0.0, math.pi / 4]), units="rad"), 2) == pytest.approx(45)


def test_a_master_that_names_no_axis_says_nothing(master, tmp_path):
    assert read_step(master(), 3) is None
    with h5py.File(tmp_path / "bare.nxs", "w") as file:
        file.create_group("entry")
    assert read_step(tmp_path / "bare.nxs", 3) is None


def test_axes_that_depend_on_each_other_in_a_circle_come_to_an_end(master, tmp_path):
    path = master(("omega", [0.0, 1.0]))
    with h5py.File(path, "a") as file:
        file["/entry/sample/transformations/omega"].attrs["depends_on"] = "omega"
    assert read_step(path, 2) == pytest.approx(1)


def test_axes_may_stand_in_another_file(master, tmp_path):
    write_link(tmp_path / "scan.nxs", "entry/sample", "meta.h5", "/entry/sample")
    with h5py.File(tmp_path / "scan.nxs", "a") as file:
        file["entry"].attrs["NX_class"] = np.bytes_("NXentry")
    (tmp_path / "scan.nxs").rename(tmp_path / "linked.nxs")
    with pytest.raises(UnusableImages, match=r"doesn't say how its crystal turns: .*meta\.h5"):
        read_step(tmp_path / "linked.nxs", 3)
    master(("omega", [0.0, 0.5, 1.0])).rename(tmp_path / "meta.h5")
    assert read_step(tmp_path / "linked.nxs", 3) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("angles", "reason"),
    [
        ([0, 1, 2, 90, 91, 92], r"more than one scan in it: image 4 starts at 90°, 88° after the one before"),
        ([0, 45, 90, 90], "more than one scan in it: image 4"),
        ([0, 1, 0, 1], "more than one scan in it: image 3"),
    ],
)
def test_several_scans_in_a_master_are_refused(master, angles, reason):
    with pytest.raises(UnusableImages, match=reason):
        read_step(master(("omega", np.array(angles, float))), len(angles))


def test_two_axes_that_turn_at_once_are_refused(master):
    with pytest.raises(UnusableImages, match="about 2 axes at once"):
        read_step(master(("phi", [0.0, 1.0]), ("omega", [0.0, 1.0])), 2)
