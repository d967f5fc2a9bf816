"""Spots are found in files, masters and folders, with the numbers of DIALS."""

import shutil
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - DIALS is asked in this process, and reads bitshuffle-LZ4
import numpy as np
import pytest

from tasks.diffraction.requests import SpotFindingOptions
from tasks.spots import Image, SpotFinder
from tasks.spots.images import NoSuchImages
from tests.support.asking_dials import ask_dials

pytestmark = pytest.mark.dials


def find(*names, options=None, processes=2):
    with SpotFinder([str(name) for name in names], options, processes) as finder:
        wanted = finder.list_images()
        return wanted, list(finder.find(wanted.images))


def test_images_of_folder_and_master_have_dials_numbers_in_order(pictures):
    wanted, found = find(pictures.cbf_folder, pictures.master)
    assert not wanted.refused
    assert not wanted.notes
    assert [(each.image.file, each.image.number) for each in found] == [
        *((file, place) for place, file in enumerate(pictures.cbfs, 1)),
        *((pictures.master, number) for number in range(1, 5)),
    ]
    statistics = [each.analysis.statistics for each in found]
    assert statistics[2].as_payload() == ask_dials(pictures.cbfs[2])
    assert statistics[4 + 2].as_payload() == ask_dials(pictures.master, (3, 3))


def test_options_are_those_of_spot_finding(pictures):
    options = SpotFindingOptions(d_min=3.0, threshold_algorithm="dispersion_extended", filter_ice=False)
    _, [found] = find(f"{pictures.master}:2", options=options)
    expected = ask_dials(
        pictures.master, (2, 2), d_min=3.0, threshold_algorithm="dispersion_extended", filter_ice=False
    )
    assert found.analysis.statistics.as_payload() == expected


def test_a_master_is_done_once_and_its_parts_are_not_whatever_they_are_called(pictures, tmp_path):
    shutil.copytree(pictures.master_folder, tmp_path, dirs_exist_ok=True)
    [data] = tmp_path.glob("*.h5")
    with h5py.File(tmp_path / Path(pictures.master).name, "r+") as master:
        master["entry/meta"] = h5py.ExternalLink("a_part.h5", "/data")
    shutil.copy(data, tmp_path / "a_part.h5")
    wanted, _ = find(tmp_path)
    assert not wanted.refused
    assert [image.name for image in wanted.images] == [
        f"{tmp_path / Path(pictures.master).name}:{number}" for number in range(1, 5)
    ]


@pytest.fixture
def master_in_the_making(pictures, tmp_path):
    """A master of four images, of which the first and the third are stored."""
    shutil.copytree(pictures.master_folder, tmp_path, dirs_exist_ok=True)
    [data] = tmp_path.glob("*.h5")
    with h5py.File(data) as file:
        images = file["data"][:]
    data.unlink()
    with h5py.File(data, "w") as file:
        stored = file.create_dataset("data", images.shape, images.dtype, chunks=(1, *images.shape[1:]))
        stored[0], stored[2] = images[0], images[2]
    return tmp_path / Path(pictures.master).name


def test_of_a_master_that_is_being_written_the_images_that_are_there_are_done(pictures, master_in_the_making):
    wanted, found = find(master_in_the_making)
    assert [each.image.number for each in found] == [1, 3]
    assert wanted.notes == [f"{master_in_the_making}: 2 of 4 images aren't stored (yet); the others are done"]
    _, whole = find(pictures.master)
    assert found[1].analysis.statistics == whole[2].analysis.statistics


def test_an_image_that_is_asked_for_and_not_there_fails_alone(master_in_the_making):
    _, found = find(f"{master_in_the_making}:1-3")
    assert [each.analysis is not None for each in found] == [True, False, True]
    assert "image 2 of" in found[1].reason
    assert "has not been written" in found[1].reason
    assert found[1].as_payload() == {"file": str(master_in_the_making), "file-number": 2, "error": found[1].reason}


def test_a_master_whose_data_file_is_absent_or_broken_is_refused_with_what_it_lacks(pictures, tmp_path):
    shutil.copytree(pictures.master_folder, tmp_path, dirs_exist_ok=True)
    master = tmp_path / Path(pictures.master).name
    [data] = tmp_path.glob("*.h5")
    data.write_bytes(data.read_bytes()[:10_000])
    wanted, _ = find(master)
    [broken] = wanted.refused
    assert broken.startswith(f"{master}: its 4 images can't be had: {data} can't be read yet (")
    assert "truncated file" in broken
    data.unlink()
    wanted, _ = find(master)
    assert wanted.refused == [f"{master}: its 4 images can't be had: {data} isn't there"]
    assert not wanted.images
    assert not wanted.notes


def test_what_can_not_be_used_is_told_and_the_others_are_done(pictures, tmp_path):
    broken = tmp_path / "broken_1.cbf"
    broken.write_bytes(Path(pictures.cbfs[0]).read_bytes()[:5000])
    wanted, found = find(broken, "nothing.cbf", f"{pictures.master}:4-5", pictures.cbfs[1])
    assert wanted.refused == [
        "nothing.cbf: No such file or directory",
        f"{pictures.master} has images 1 to 4; asked for were 4 to 5",
    ]
    assert [each.analysis is not None for each in found] == [False, True]
    assert str(broken) in found[0].reason


def test_spots_are_shown_where_they_are(pictures):
    with SpotFinder([pictures.cbfs[0]]) as finder:
        [image] = finder.list_images().images
        [found] = finder.find([image])
        picture = finder.picture(image)
    statistics = found.analysis.statistics
    assert len(picture.spots) == statistics.n_spots_no_ice
    assert len(picture.spots) + len(picture.ice) == statistics.n_spots_total
    # where a spot is, the picture is dark
    columns, rows = (picture.spots // picture.binning).astype(int).T
    assert np.median(picture.shades[rows, columns]) < 100 < np.median(picture.shades)
    assert picture.rings
    assert picture.beam is not None
    radii = [np.nanmedian(np.hypot(*(ring.places - picture.beam).T)) for ring in picture.rings]
    assert radii == sorted(radii), "a higher resolution is further out"


def test_rings_are_where_braggs_law_has_them(pictures):
    with SpotFinder([pictures.cbfs[0]]) as finder:
        picture = finder.picture(Image(pictures.cbfs[0], 1))
    ring = picture.rings[-1]
    angle = 2 * np.arcsin(picture.wavelength_a / (2 * ring.d_a))
    expected_px = picture.distance_mm * np.tan(angle) / 0.172
    assert np.nanmax(np.abs(np.hypot(*(ring.places - picture.beam).T) - expected_px)) < 0.5


def test_an_image_that_can_not_be_drawn_says_why(pictures):
    with SpotFinder([pictures.master]) as finder, pytest.raises(NoSuchImages, match="has images 1 to 4"):
        finder.picture(Image(pictures.master, 5, is_of_several=True))
