"""Previews look as `dials.export_bitmaps` makes them."""

import shutil
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 write bitshuffle-LZ4
import numpy as np
import pytest
from PIL import Image

from tasks.diffraction.requests import PreviewRequest

pytestmark = pytest.mark.dials


@pytest.fixture
def draw(tmp_path):
    from tasks.diffraction.bitmaps import draw_preview
    from tasks.diffraction.data_sets import DataSets

    def draw(file, index=1):
        names = [str(tmp_path / "jpegs" / name) for name in ("a.jpeg", "at.jpeg")]
        pictures = []
        for name in draw_preview(PreviewRequest(file, index, *names), DataSets()):
            with Image.open(name) as picture:
                picture.load()
                pictures.append(picture)
        return pictures

    return draw


@pytest.mark.parametrize(("longest", "binning"), [(2527, 4), (1679, 4), (1043, 2), (619, 1)])
def test_small_detector_is_binned_less(longest, binning):
    from tasks.diffraction.bitmaps import preview_binning

    assert preview_binning(longest, 4) == binning


def test_shades_are_those_of_dials_but_for_gaps(pictures, tmp_path):
    from dials.command_line.export_bitmaps import imageset_as_bitmaps, phil_scope
    from dxtbx.model.experiment_list import ExperimentListFactory

    from tasks.diffraction import bitmaps
    from tasks.diffraction.data_sets import open_data_set

    file = pictures.rotation_cbfs[0]
    options = phil_scope.extract()
    options.binning, options.brightness, options.imageset_index = 2, 60, [1]
    options.output.format, options.output.file = "png", str(tmp_path / "dials.png")
    imageset_as_bitmaps(ExperimentListFactory.from_filenames([file])[0].imageset, options)
    with Image.open(tmp_path / "dials.png") as picture:
        theirs = np.asarray(picture.convert("L"))

    counts = bitmaps.read_counts(open_data_set(file), 1)
    ours = bitmaps.shade(bitmaps.bin_by_maximum(counts, 2), bitmaps.correction_of(counts, 60))
    sensor = ours != bitmaps.GAP_SHADE
    assert 0.8 < sensor.mean() < 0.99
    assert np.array_equal(ours[sensor], theirs[sensor])


def test_preview_and_thumbnail_of_a_master_and_of_a_cbf_are_alike(pictures, draw):
    sizes = []
    for file, index in ((pictures.rotation_master, 2), (pictures.rotation_cbfs[1], 1)):
        preview, thumbnail = draw(file, index)
        sizes.append((preview.size, thumbnail.size, round(np.asarray(preview)[::7, ::7].mean())))
    assert sizes[0][:2] == sizes[1][:2] == ((487, 619), (162, 206))
    assert abs(sizes[0][2] - sizes[1][2]) <= 3


def test_masked_pixels_are_grey_and_saturated_ones_black_whatever_they_count(pictures, tmp_path):
    from tasks.diffraction import bitmaps
    from tasks.diffraction.data_sets import open_data_set

    folder = Path(shutil.copytree(Path(pictures.rotation_master).parent, tmp_path / "scan"))
    master = folder / Path(pictures.rotation_master).name
    [data_file] = folder.glob("*.h5")
    with h5py.File(master, "r+") as file:
        mask = file["entry/instrument/detector/pixel_mask"]
        gaps = mask[()]
        row, column = np.argwhere(gaps == 0)[5000]
        mask[row, column : column + 2] = 1
    with h5py.File(data_file, "r+") as file:
        image = file["data"][0]
        image[row, column : column + 4] = 5000, 65100, 5000, 65100  # 65000 is saturated, 65535 a gap
        file["data"][0] = image
    counts = bitmaps.read_counts(open_data_set(str(master)), 1)
    assert counts[row, column : column + 4].tolist() == [-1, -1, 5000, 65100]
    shades = bitmaps.shade(counts, bitmaps.correction_of(counts, 60))[row, column : column + 4]
    assert shades.tolist() == [bitmaps.GAP_SHADE, bitmaps.GAP_SHADE, 0, 0]


def test_images_of_a_master_differ(pictures, draw):
    first, third = (np.asarray(draw(pictures.rotation_master, index)[0]).copy() for index in (1, 3))
    assert not np.array_equal(first, third)


def test_nothing_but_the_two_pictures_is_left(pictures, draw, tmp_path):
    draw(pictures.rotation_cbfs[0])
    assert sorted(path.name for path in (tmp_path / "jpegs").iterdir()) == ["a.jpeg", "at.jpeg"]


@pytest.mark.parametrize(
    ("file", "index", "complaint"),
    [("/nowhere/a_0001.cbf", 1, "does not exist"), ("rotation_master", 7, "has images 1 to 6; asked for was 7")],
)
def test_image_that_is_not_there_is_an_error(pictures, draw, file, index, complaint, tmp_path):
    from tasks.diffraction.data_sets import ImageUnreadable

    with pytest.raises(ImageUnreadable, match=complaint):
        draw(getattr(pictures, file, file), index)
    assert not (Path(tmp_path) / "jpegs").exists()


def test_place_that_can_not_be_written_to_is_named(pictures, tmp_path):
    from tasks.diffraction.bitmaps import PreviewUnwritable, draw_preview
    from tasks.diffraction.data_sets import DataSets

    (tmp_path / "file").touch()
    output = f"{tmp_path}/file/a.jpeg"
    with pytest.raises(PreviewUnwritable, match=f"{output} can't be written"):
        draw_preview(PreviewRequest(pictures.grid_master, 1, output, output), DataSets())
