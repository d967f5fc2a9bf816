"""Images are analysed as DIALS does however a master's files are laid out, and refused where one isn't there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from tasks.diffraction.requests import AnalysisParameters, Failure, ImageRequest, PreviewRequest, Success

pytestmark = pytest.mark.dials

IMAGES = 6
LIBVER = ("v110", "v110")


class Scan:
    """A rendered rotation of six images, laid out anew: three in each of two data files."""

    def __init__(self, folder, rendered):
        self.folder = folder
        self.master = folder / "scan.nxs"
        self.raw = folder / "raw"
        self.raw.mkdir()
        shutil.copy(rendered, self.master)
        with h5py.File(rendered, "r") as file:
            self.images = file["entry/data/data"][:]
        for number in (1, 2):
            self.write_data(self.raw / f"scan_{number}.h5", self.images[3 * number - 3 : 3 * number])
        self.delete("entry/data")

    def write_data(self, path, images, stored=None, dataset="data"):
        with h5py.File(path, "w", libver=LIBVER) as file:
            data = file.create_dataset(
                dataset, images.shape, images.dtype, chunks=(1, *images.shape[1:]), **hdf5plugin.Bitshuffle()
            )
            for frame in range(len(images) if stored is None else stored):
                data[frame] = images[frame]

    def delete(self, name):
        with h5py.File(self.master, "r+") as file:
            if name in file:
                del file[name]

    def map(self, master, places, prefix="", dataset="entry/data/data", size=IMAGES):
        """Write a virtual dataset: the images (a slice) that each data file's frames are."""
        shape = self.images.shape[1:]
        layout = h5py.VirtualLayout((size, *shape), self.images.dtype)
        for number, place in enumerate(places, 1):
            count = len(range(size)[place])
            source = h5py.VirtualSource(f"{prefix}scan_{number}.h5", "data", (3, *shape), self.images.dtype)
            layout[place] = source[:count]
        with h5py.File(master, "a", libver=LIBVER) as file:
            file.create_virtual_dataset(dataset, layout, fillvalue=0)
        self.label()

    def link(self, name, file_name, path):
        with h5py.File(self.master, "r+") as file:
            file[name] = h5py.ExternalLink(file_name, path)
        self.label()

    def label(self, signal="data"):
        with h5py.File(self.master, "r+") as file:
            if "entry/data" in file:
                file["entry/data"].attrs["NX_class"] = np.bytes_("NXdata")
                file["entry/data"].attrs["signal"] = np.bytes_(signal)


HALVES = (slice(0, 3), slice(3, 6))
IN_TURN = (slice(0, 6, 2), slice(1, 6, 2))


@pytest.fixture
def scan(pictures, tmp_path):
    return Scan(tmp_path, pictures.rotation_master)


@pytest.fixture
def analyse(pool):
    def analyse(master, *numbers):
        requests = [ImageRequest(str(master), AnalysisParameters().options, (number, number)) for number in numbers]
        return [
            outcome.value.statistics if isinstance(outcome, Success) else outcome for outcome in pool.meet(requests)
        ]

    return analyse


@pytest.fixture
def expected(analyse, pictures):
    return analyse(pictures.rotation_master, *range(1, IMAGES + 1))


def test_virtual_dataset_in_another_folder_is_followed(scan, analyse, expected):
    scan.map(scan.raw / "scan_vds.h5", HALVES, dataset="data")
    scan.link("entry/data/data", "raw/scan_vds.h5", "data")
    assert analyse(scan.master, *range(1, 7)) == expected


def test_files_are_looked_for_beside_the_real_master(scan, analyse, expected):
    scan.map(scan.master, HALVES)
    scan.master.rename(scan.raw / "scan.nxs")
    scan.master.symlink_to("raw/scan.nxs")
    assert analyse(scan.master, 1, 6) == [expected[0], expected[5]]


def test_data_without_a_signal_are_called_data(scan, analyse, expected):
    scan.map(scan.master, HALVES, "raw/")
    with h5py.File(scan.master, "r+") as file:
        del file["entry/data"].attrs["signal"]
    assert analyse(scan.master, 1, 4) == [expected[0], expected[3]]


def test_images_dealt_out_in_turn_are_refused_where_their_file_is_missing(scan, analyse, expected):
    scan.map(scan.master, IN_TURN, "raw/")
    later = [expected[0], expected[3], expected[1], expected[4], expected[2], expected[5]]
    in_turn = [analyse(scan.master, number)[0] for number in range(1, 7)]
    assert [each.n_spots_total for each in in_turn] == [each.n_spots_total for each in later]
    (scan.raw / "scan_2.h5").rename(scan.raw / "late.h5")
    first, second = analyse(scan.master, 1, 2)
    assert first.n_spots_total == later[0].n_spots_total
    assert second.may_pass
    assert "scan_2.h5 with image 2" in second.reason
    (scan.raw / "late.h5").rename(scan.raw / "scan_2.h5")
    assert analyse(scan.master, 2) == [in_turn[1]]


def test_gap_is_no_image_without_spots(scan, analyse, expected):
    scan.map(scan.master, (slice(0, 2), slice(3, 6)), "raw/")
    assert analyse(scan.master, 1, 4) == [expected[0], expected[3]]
    [gap] = analyse(scan.master, 3)
    assert not gap.may_pass
    assert "maps image 3 to no file" in gap.reason


def test_aborted_collection_has_fewer_images_than_angles(scan, analyse, expected, pool, tmp_path):
    scan.map(scan.master, (slice(0, 3), slice(3, 4)), "raw/", size=4)
    assert analyse(scan.master, 1, 4) == [expected[0], expected[3]]
    [beyond] = analyse(scan.master, 5)
    assert isinstance(beyond, Failure)
    assert "no image 5: it maps 4 images" in beyond.reason
    [preview] = pool.meet([PreviewRequest(str(scan.master), 4, f"{tmp_path}/a.jpeg", f"{tmp_path}/at.jpeg")])
    assert isinstance(preview, Success)


def test_meta_file_that_is_late_is_waited_for(scan, analyse, expected):
    scan.map(scan.master, HALVES, "raw/")
    with h5py.File(scan.master, "r") as file, h5py.File(scan.folder / "late.h5", "w") as meta:
        for name in ("pixel_mask", "bit_depth_readout", "saturation_value"):
            meta[name] = file[f"entry/instrument/detector/{name}"][()]
    for name in ("pixel_mask", "bit_depth_readout", "saturation_value"):
        scan.delete(f"entry/instrument/detector/{name}")
        scan.link(f"entry/instrument/detector/{name}", "scan_meta.h5", name)
    [early] = analyse(scan.master, 1)
    assert early.may_pass
    assert f"{scan.folder}/scan_meta.h5, which isn't there" in early.reason
    (scan.folder / "late.h5").rename(scan.folder / "scan_meta.h5")
    assert analyse(scan.master, 1) == [expected[0]]


@pytest.fixture
def dectris(scan):
    """A Dectris master of the first kind: links to data files, no virtual dataset, no NXmx."""
    master = scan.folder / "lyso_master.h5"
    with h5py.File(scan.master, "r") as source, h5py.File(master, "w") as file:
        detector = file.create_group("entry/instrument/detector")
        theirs = source["entry/instrument/detector"]
        for name in ("beam_center_x", "beam_center_y", "x_pixel_size", "y_pixel_size", "sensor_thickness"):
            theirs.copy(name, detector)
        for name in ("count_time", "frame_time", "sensor_material", "bit_depth_readout"):
            theirs.copy(name, detector)
        detector["detector_distance"] = theirs["distance"][()]
        detector["detector_distance"].attrs["units"] = np.bytes_("m")
        detector["description"] = np.bytes_("Dectris Eiger 1M")
        detector["detector_number"] = np.bytes_("E-02-0100")
        detector["pixel_mask"] = theirs["pixel_mask"][()]
        detector["detectorSpecific/countrate_correction_count_cutoff"] = 65000
        detector["detectorSpecific/pixel_mask"] = theirs["pixel_mask"][()]
        detector["geometry/orientation/value"] = np.array([-1, 0, 0, 0, -1, 0], "f4")
        detector["geometry/translation/distances"] = np.array([0, 0, theirs["distance"][()]], "f4")
        source.copy("entry/instrument/beam", file["entry/instrument"])
        file["entry/sample/goniometer/omega"] = 0.5 * np.arange(IMAGES)
        file["entry/sample/goniometer/omega_range_average"] = 0.5
        for number in (1, 2):
            file[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(f"raw/scan_{number}.h5", "/entry/data/data")
        for name, nx_class in (
            ("entry", "NXentry"),
            ("entry/data", "NXdata"),
            ("entry/instrument", "NXinstrument"),
            ("entry/instrument/beam", "NXbeam"),
            ("entry/instrument/detector", "NXdetector"),
            ("entry/sample", "NXsample"),
        ):
            file[name].attrs["NX_class"] = np.bytes_(nx_class)
    for number in (1, 2):
        images = scan.images[3 * number - 3 : 3 * number].astype("u4")
        scan.write_data(scan.raw / f"scan_{number}.h5", images, dataset="entry/data/data")
    scan.master = master
    return scan


def test_image_of_a_dectris_master_is_waited_for(dectris, analyse):
    whole = analyse(dectris.master, 1, 6)
    assert all(each.n_spots_total > 50 for each in whole)
    last = dectris.raw / "scan_2.h5"
    last.rename(dectris.raw / "late.h5")
    dectris.master.touch()
    for missing in analyse(dectris.master, 1, 6):  # dxtbx reads no such master unless all of its files are there
        assert missing.may_pass
        assert f"waits for {last}, which isn't there" in missing.reason
    dectris.write_data(last, dectris.images[3:].astype("u4"), stored=2, dataset="entry/data/data")
    [unwritten] = analyse(dectris.master, 6)
    assert unwritten.may_pass
    assert "image 6" in unwritten.reason
    (dectris.raw / "late.h5").replace(last)
    assert analyse(dectris.master, 6) == [whole[1]]


def test_files_that_were_read_can_be_written_again(scan, analyse, expected):
    """The DIALS process stays, and dxtbx has read the master."""
    scan.map(scan.master, HALVES, "raw/")
    assert analyse(scan.master, 1) == [expected[0]]
    for file in (scan.master, scan.raw / "scan_1.h5"):
        program = f"import h5py; h5py.File({str(file)!r}, 'r+').close()"
        subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"HDF5_USE_FILE_LOCKING": "TRUE"})


def test_file_that_its_writer_has_locked_is_waited_for(scan, analyse, expected):
    scan.map(scan.master, HALVES, "raw/")
    for file in (scan.master, scan.raw / "scan_1.h5"):
        with h5py.File(file, "r+"):
            [locked] = analyse(scan.master, 1)
        assert locked.may_pass
        assert re.search(rf"{re.escape(str(file))},?( which)? is held by a writer", locked.reason)
    assert analyse(scan.master, 1) == [expected[0]]


def test_preview_of_what_is_not_stored_is_refused(scan, pool, tmp_path):
    scan.map(scan.master, HALVES, "raw/")
    (scan.raw / "scan_2.h5").unlink()
    [outcome] = pool.meet([PreviewRequest(str(scan.master), 5, f"{tmp_path}/a.jpeg", f"{tmp_path}/at.jpeg")])
    assert outcome.may_pass
    assert "scan_2.h5 with image 5" in outcome.reason
    assert not Path(tmp_path / "a.jpeg").exists()
