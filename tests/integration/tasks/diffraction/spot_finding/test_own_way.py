"""Plaza's own way has DIALS's numbers, all nine, whatever the counts, the mask, the detector and the file."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.diffraction.requests import AnalysisParameters, ImageRequest
from tests.support.asking_dials import ask_dials

pytestmark = pytest.mark.dials

OPTIONS = {
    "defaults": {},
    "with ice": {"filter_ice": False},
    "shells": {"d_min": 3.0, "d_max": 20.0, "ice_rings_width": 0.01},
    "all resolutions": {"d_max": None},
    "hardly any": {"d_min": 6.0, "d_max": 8.0},
}


@pytest.mark.parametrize("kind", ["rotation_cbfs", "rotation_master", "grid_cbfs", "grid_master"])
def test_images_have_the_numbers_of_work(pictures, analyser, kind):
    files = getattr(pictures, kind)
    for number in (1, 2, 5):
        image = (files, (number, number)) if isinstance(files, str) else (files[number - 1], None)
        analysis = analyser.examine(ImageRequest(image[0], analyser.options, image[1]))
        assert analysis.by_dials is None
        wanted = ask_dials(*image, threshold_algorithm=analyser.options.threshold_algorithm)
        assert analysis.statistics.as_payload() == wanted
        assert wanted["n_spots_total"] > 50


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_make_no_difference_to_that(pictures, options):
    from tasks.diffraction.analyser import Analyser

    analyser = Analyser(AnalysisParameters(**options).options)
    for number in (1, 4):
        request = ImageRequest(pictures.rotation_master, analyser.options, (number, number), check=True)
        analysis = analyser.examine(request)
        assert (analysis.by_dials, analysis.corrected) == (None, None)
        assert analysis.statistics.as_payload() == ask_dials(request.file, request.scan_range, **options)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "i8", ">u2"])
def test_any_type_of_integers(compare, make_master, rendered, dtype):
    counts = np.minimum(rendered, 120).astype(dtype)
    bits = min(8 * counts.itemsize, 32)  # of more DIALS reads none
    master = make_master(counts=counts, bit_depth_readout=bits, saturation_value=100)
    spots = [compare(master, number).n_spots_total for number in (1, 2)]
    assert min(spots) > 20


def test_masked_values_of_the_bit_depth(compare, make_master, rendered):
    random = np.random.default_rng(3)
    counts = rendered.copy()
    counts[random.random(counts.shape) < 0.01] = 65535
    counts[random.random(counts.shape) < 0.01] = 65534
    for saturation in (65000, 65534, 100_000):
        compare(make_master(f"to-{saturation}", counts=counts, saturation_value=saturation), 1)


@pytest.mark.parametrize("content", ["nothing", "the same everywhere", "one bright pixel", "one spot"])
def test_images_of_hardly_anything(compare, make_master, rendered, content):
    counts = np.zeros_like(rendered)
    if content == "the same everywhere":
        counts[:] = 7
    elif content == "one bright pixel":
        counts[:, 300, 200] = 60_000
    elif content == "one spot":
        counts[:, 300:303, 200:203] = 50
    statistics = compare(make_master(counts=counts), 2)
    assert statistics.n_spots_total == (content == "one spot")
    assert statistics.estimated_d_min == -1


def test_masks_aren_t_mistaken_for_each_other(compare, make_master, rendered):
    """Masters of one detector whose masks differ, in turn, and one that gets another mask in between."""
    random = np.random.default_rng(4)
    masks = [(random.random(rendered.shape[1:]) < part).astype("u4") for part in (0.0, 0.05, 0.3, 0.3)]
    masters = [make_master(f"mask-{number}", mask=mask) for number, mask in enumerate(masks)]
    spots = [[compare(master, number).n_spots_total for master in masters] for number in (1, 2, 3)]
    assert all(len(set(row)) > 2 for row in spots)
    with h5py.File(masters[0], "r+") as file:
        file["entry/instrument/detector/pixel_mask"][:] = masks[2]
    assert compare(masters[0], 1) == compare(masters[2], 1)


def test_trusted_ranges_aren_t_mistaken_for_each_other(compare, make_master, pictures, tmp_path):
    masters = [make_master(f"to-{top}", saturation_value=top) for top in (30, 60, 65000)]
    spots = [[compare(master, number).total_intensity for master in masters] for number in (1, 2)]
    assert all(len(set(row)) == 3 for row in spots)
    content = Path(pictures.rotation_cbfs[0]).read_bytes()
    assert content.count(b"Count_cutoff 1048500") == 1
    intensities = set()
    for cutoff in (b"30", b"60", b"1048500", b"30"):
        file = tmp_path / "image_0001.cbf"
        file.write_bytes(content.replace(b"Count_cutoff 1048500", b"Count_cutoff " + cutoff))
        intensities.add(compare(file).total_intensity)
    assert len(intensities) == 3


def test_several_panels(compare, make_master, rendered):
    """A master's mask is split by dxtbx into panels one above the other only; without a mask any will do."""
    slow, fast = rendered.shape[1:]
    mask = (np.random.default_rng(5).random((slow, fast)) < 0.02).astype("u4")
    rows = make_master("rows", mask=mask)
    _divide(rows, {(0, 0): (200, fast), (200, 0): (300, fast), (500, 0): (slow - 500, fast)})
    squares = make_master("squares")
    with h5py.File(squares, "r+") as file:
        del file["entry/instrument/detector/pixel_mask"]
    corner = slow - 300, fast - 250
    _divide(squares, {(0, 0): (300, 250), (0, 250): (300, corner[1]), (300, 0): (corner[0], 250), (300, 250): corner})
    spots = [compare(master, number).n_spots_total for number in (1, 2, 6) for master in (rows, squares)]
    assert min(spots) > 40


def _divide(master, panels):
    """Give a master's detector panels of these origins and sizes: slow, fast."""
    with h5py.File(master, "r+") as file:
        detector = file["entry/instrument/detector"]
        for number, (origin, size) in enumerate(panels.items()):
            name = f"module_{number}" if number else "module"  # on which the others depend
            if number:
                file.copy(detector["module"], detector, name)
            detector[f"{name}/data_origin"][:] = origin
            detector[f"{name}/data_size"][:] = size


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["thaumatin_grid/*.cbf.bz2", "l_cysteine/*.cbf.gz", "therm/Therm_6_2.nxs"])
def test_real_images(real_data, compare, pattern):
    files = sorted(real_data.glob(pattern))
    images = [(files[0], number) for number in range(1, 5)] if pattern.endswith(".nxs") else [(file,) for file in files]
    spots = [compare(*image).n_spots_total for image in images]
    assert max(spots) > 15
