"""Previews look as `dials.export_bitmaps` makes them."""

import shutil
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 write bitshuffle-LZ4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tasks.diffraction.requests import PreviewRequest
from tests.support.image_files import MINI_HEADER, make_cbf, make_smv

pytestmark = pytest.mark.dials


@pytest.fixture
def draw(tmp_path):
    from tasks.diffraction.image_files.data_sets import DataSets
    from tasks.diffraction.pictures.bitmaps import draw_preview

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
    from tasks.diffraction.pictures.bitmaps import preview_binning

    assert preview_binning(longest, 4) == binning


def test_shades_are_those_of_dials_but_for_gaps(pictures, tmp_path):
    from dials.command_line.export_bitmaps import imageset_as_bitmaps, phil_scope
    from dxtbx.model.experiment_list import ExperimentListFactory

    from tasks.diffraction.image_files.opening import open_data_set
    from tasks.diffraction.pictures import bitmaps

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


@pytest.mark.parametrize("kind", ["rotation_cbf", "rotation_master", "grid_cbf", "overloads"])
def test_counts_read_raw_are_those_read_by_dxtbx(kind, pictures, tmp_path, monkeypatch):
    from tasks.diffraction.image_files.data_set import DataSet
    from tasks.diffraction.image_files.opening import open_data_set
    from tasks.diffraction.image_files.raw.frame import NotRaw
    from tasks.diffraction.pictures import bitmaps

    file = tmp_path / "a_1.cbf"
    pixels = np.full((195, 487), 50, dtype=np.int32)
    pixels[::7, ::3], pixels[5:9, 6], pixels[20] = 60, -1, 59
    file.write_bytes(make_cbf(MINI_HEADER.replace("1048500", "60"), pixels))
    files = {
        "rotation_cbf": pictures.rotation_cbfs[2],
        "rotation_master": pictures.rotation_master,
        "grid_cbf": pictures.grid_cbfs[1],
        "overloads": str(file),
    }
    raw = bitmaps.read_counts(open_data_set(files[kind]), 1).copy()

    def refuse(self, index):
        raise NotRaw("a test")

    monkeypatch.setattr(DataSet, "read_raw", refuse)
    assert np.array_equal(raw, bitmaps.read_counts(open_data_set(files[kind]), 1))


counts_of_a_detector = arrays.arrays(
    np.int32, arrays.array_shapes(min_dims=2, max_dims=2, min_side=12, max_side=90), elements=st.integers(-1, 40)
)


@given(counts=counts_of_a_detector, binning=st.integers(1, 7))
def test_bins_hold_the_highest_of_their_blocks(counts, binning):
    from tasks.diffraction.pictures.bitmaps import bin_by_maximum

    height, width = (size // binning for size in counts.shape)
    blocks = counts[: height * binning, : width * binning].reshape(height, binning, width, binning)
    assert np.array_equal(bin_by_maximum(counts, binning), blocks.max(axis=(1, 3)))


@given(counts=counts_of_a_detector, correction=st.floats(1e-4, 2))
def test_shades_of_integers_are_those_of_the_formula(counts, correction):
    from tasks.diffraction.pictures.bitmaps import shade

    assert np.array_equal(shade(counts, correction), shade(counts.astype(float), correction))


@pytest.mark.parametrize("scale", [0, 1, 3, 1000, 10_000_000])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.999])
def test_percentile_is_found_among_integers_as_among_any_numbers(scale, share):
    from tasks.diffraction.pictures.bitmaps import correction_of

    random = np.random.default_rng(scale)
    counts = (random.exponential(1, (211, 307)) * scale).astype(np.int32)
    counts[: int(share * 211)] = -1
    counts[random.integers(0, 211, 300), random.integers(0, 307, 300)] = 2**31 - 1
    assert correction_of(counts, 60) == correction_of(counts.astype(float), 60)


def test_preview_and_thumbnail_of_a_master_and_of_a_cbf_are_alike(pictures, draw):
    sizes = []
    for file, index in ((pictures.rotation_master, 2), (pictures.rotation_cbfs[1], 1)):
        preview, thumbnail = draw(file, index)
        sizes.append((preview.size, thumbnail.size, round(np.asarray(preview)[::7, ::7].mean())))
    assert sizes[0][:2] == sizes[1][:2] == ((487, 619), (162, 206))
    assert abs(sizes[0][2] - sizes[1][2]) <= 3


def test_masked_and_saturated_pixels_are_grey_whatever_they_count(pictures, tmp_path):
    from tasks.diffraction.image_files.opening import open_data_set
    from tasks.diffraction.pictures import bitmaps

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
        image[row, column : column + 5] = 5000, 65100, 5000, 65000, 65100  # 65000 is saturated, 65535 a gap
        file["data"][0] = image
    counts = bitmaps.read_counts(open_data_set(str(master)), 1)
    assert counts[row, column : column + 5].tolist() == [-1, -1, 5000, -1, -1]
    shades = bitmaps.shade(counts, bitmaps.correction_of(counts, 60))[row, column : column + 5]
    grey = bitmaps.GAP_SHADE
    assert shades.tolist() == [grey, grey, 0, grey, grey]


def test_overloads_of_a_cbf_and_of_a_ccd_are_grey(tmp_path):
    from tasks.diffraction.image_files.opening import open_data_set
    from tasks.diffraction.pictures import bitmaps

    pixels = np.full((50, 60), 50, dtype=np.int32)
    pixels[10, 20] = 65535  # where a pixel of 16 bits ends
    lines = MINI_HEADER.replace("1048500", "60")
    module = np.full((195, 487), 50, dtype=np.int32)
    module[10, 20] = 60
    for name, content in (("a_1.img", make_smv(pixels)), ("a_1.cbf", make_cbf(lines, module))):
        (tmp_path / name).write_bytes(content)
        counts = bitmaps.read_counts(open_data_set(str(tmp_path / name)), 1)
        assert counts[10, 20] == -1
        assert (counts == -1).sum() == 1


@pytest.mark.parametrize(("name", "index"), [("a_005.img", 5), ("a_0000.img", 0), ("a_0000.cbf", 0), ("a_7.cbf", 7)])
def test_only_image_of_a_file_is_drawn_whatever_its_number(name, index, draw, tmp_path):
    (tmp_path / name).write_bytes(make_smv() if name.endswith(".img") else make_cbf())
    assert draw(str(tmp_path / name), index)[0].size == ((60, 50) if name.endswith(".img") else (487, 195))


@pytest.fixture
def draw_by_default(tmp_path):
    from tasks.diffraction.image_files.data_sets import DataSets
    from tasks.diffraction.pictures.bitmaps import draw_preview
    from tasks.image_previews import read_request

    def draw(file, **payload):
        request = read_request({"file": str(file), **payload}, {"image_command": "diffraction"})
        return [Path(path).name for path in draw_preview(request, DataSets())]

    return draw


def test_previews_of_other_runs_are_left_to_the_images_that_they_show(draw_by_default, tmp_path):
    visit = tmp_path / "cm1234-5"
    visit.mkdir()
    for name, content in (("a_2.cbf", make_cbf()), ("a_2.img", make_smv()), ("a_2t_1.cbf", make_cbf())):
        (visit / name).write_bytes(content)
    assert draw_by_default(visit / "a_2.cbf") == ["a_2.jpeg", "a_2t.jpeg"]
    assert draw_by_default(visit / "a_2.img") == ["a_2.img.jpeg", "a_2.img.t.jpeg"]
    assert draw_by_default(visit / "a_2.cbf") == ["a_2.jpeg", "a_2t.jpeg"]
    (visit / "a_2.img").write_bytes(make_smv(DISTANCE="130"))  # a new image of the same name has its preview
    assert draw_by_default(visit / "a_2.img") == ["a_2.img.jpeg", "a_2.img.t.jpeg"]
    with Image.open(visit / "jpegs" / "a_2.jpeg") as picture:
        assert picture.size == (487, 195)


def test_preview_is_drawn_in_a_folder_of_any_name(draw_by_default, tmp_path):
    folder = tmp_path / "cm1234-5" / "25% DMSO {x} a.b ß"
    folder.mkdir(parents=True)
    (folder / "50%_σ.x_1.cbf").write_bytes(make_cbf())
    assert draw_by_default(folder / "50%_σ.x_1.cbf") == ["50%_σ.x_1.jpeg", "50%_σ.x_1t.jpeg"]
    assert (tmp_path / "cm1234-5" / "jpegs" / folder.name / "50%_σ.x_1.jpeg").exists()


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
    from tasks.diffraction.errors import ImageUnreadable

    with pytest.raises(ImageUnreadable, match=complaint):
        draw(getattr(pictures, file, file), index)
    assert not (Path(tmp_path) / "jpegs").exists()


def test_place_that_can_not_be_written_to_is_named(pictures, tmp_path):
    from tasks.diffraction.image_files.data_sets import DataSets
    from tasks.diffraction.pictures.bitmaps import PreviewUnwritable, draw_preview

    (tmp_path / "file").touch()
    output = f"{tmp_path}/file/a.jpeg"
    with pytest.raises(PreviewUnwritable, match=f"{output} can't be written"):
        draw_preview(PreviewRequest(pictures.grid_master, 1, output, output), DataSets())
