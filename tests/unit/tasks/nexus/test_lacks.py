"""What a master lacks is named by its place."""

import h5py
import pytest

from tasks.nexus.lacks import find_lacks

CLASSES = {
    "entry": "NXentry",
    "entry/sample": "NXsample",
    "entry/instrument": "NXinstrument",
    "entry/instrument/beam": "NXbeam",
    "entry/instrument/detector": "NXdetector",
    "entry/instrument/detector/module": "NXdetector_module",
}
FIELDS = {
    "entry/definition": "NXmx",
    "entry/sample/depends_on": "omega",
    "entry/sample/omega": 0.0,
    "entry/sample/chi": 0.0,
    "entry/instrument/beam/incident_wavelength": 1.0,
    "entry/instrument/detector/sensor_thickness": 1.0,
    "entry/instrument/detector/sensor_material": "Si",
    "entry/instrument/detector/offset": 0.0,
    "entry/instrument/detector/module/data_origin": 0,
    "entry/instrument/detector/module/data_size": 1,
    "entry/instrument/detector/module/fast_pixel_direction": 1.0,
    "entry/instrument/detector/module/slow_pixel_direction": 1.0,
}
AXES = {
    "entry/sample/omega": "chi",
    "entry/sample/chi": ".",
    "entry/instrument/detector/module/fast_pixel_direction": "/entry/instrument/detector/offset",
    "entry/instrument/detector/offset": ".",
}


@pytest.fixture
def master(tmp_path):
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        for path, nx_class in CLASSES.items():
            file.create_group(path).attrs["NX_class"] = nx_class
        for path, value in FIELDS.items():
            file[path] = value
        for path, next_axis in AXES.items():
            file[path].attrs["depends_on"] = next_axis
    return tmp_path / "scan.nxs"


def test_a_whole_master_lacks_nothing(master):
    assert find_lacks(str(master)) == []


@pytest.mark.parametrize(
    ("path", "lack"),
    [
        ("entry", "it has no group of class NXentry"),
        ("entry/definition", "/entry/definition isn't NXmx"),
        ("entry/instrument", "/entry has no group of class NXinstrument"),
        ("entry/instrument/beam", "/entry/instrument has no group of class NXbeam"),
        ("entry/instrument/detector", "/entry/instrument has no group of class NXdetector"),
        ("entry/instrument/detector/sensor_material", "/entry/instrument/detector/sensor_material isn't there"),
        ("entry/sample/omega", "/entry/sample depends on omega, which isn't there"),
        ("entry/sample/chi", "/entry/sample/omega depends on chi, which isn't there"),
        (
            "entry/instrument/detector/offset",
            "/entry/instrument/detector/module/fast_pixel_direction depends on "
            "/entry/instrument/detector/offset, which isn't there",
        ),
    ],
)
def test_what_isnt_there_is_named(path, lack, master):
    with h5py.File(master, "r+") as file:
        del file[path]
    assert find_lacks(str(master)) == [lack]


def test_what_cant_be_seen_is_no_lack(tmp_path):
    assert find_lacks(str(tmp_path / "none.nxs")) == []
