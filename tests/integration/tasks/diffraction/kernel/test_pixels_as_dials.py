"""Strong pixels are DIALS's, bit by bit: on thousands of random images, and on all real ones at hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.diffraction.image_files.data_sets import DataSets
from tasks.diffraction.kernel import (
    CompiledThreshold,
    DialsThreshold,
    DispersionParameters,
    make_threshold,
    why_not_compiled,
)
from tasks.diffraction.kernel.choice import ask_dials
from tasks.diffraction.kernel.compiled import COMPILED
from tests.support.plain_dispersion import strong_pixels
from tests.support.random_images import TYPES, random_image, random_images

pytestmark = pytest.mark.dials
compiled = pytest.mark.skipif(COMPILED is None, reason=f"the kernel: {why_not_compiled()}")

NOT_ALL_DECLINED = 0.25


def dials_pixels(counts, valid, parameters):
    """Return what DIALS finds in an image of doubles with a mask: its indices."""
    from dials.algorithms.image import threshold
    from dials.array_family import flex
    from dxtbx import flumpy

    kind = threshold.DispersionExtendedThreshold if parameters.extended else threshold.DispersionThreshold
    found = flex.bool(flex.grid(counts.shape))
    sigmas = parameters.sigma_background, parameters.sigma_strong
    dials = kind(counts.shape, (3, 3), *sigmas, parameters.global_threshold, parameters.min_count)
    dials(flumpy.from_numpy(counts.astype(float)), flumpy.from_numpy(np.ascontiguousarray(valid)), found)
    return np.flatnonzero(flumpy.to_numpy(found))


def check(image):
    """Compare the kernel with DIALS on an image, for each kind of processor; tell whether any declined it."""
    expected = dials_pixels(image.counts, image.valid, image.parameters)
    declined = False
    for processor in COMPILED.PROCESSORS:
        threshold = CompiledThreshold(image.usable, image.trusted, image.parameters, ask_dials(), processor=processor)
        found = threshold.find(image.counts)
        declined |= found is None
        assert found is None or np.array_equal(found, expected), (image, processor)
        assert found is not None or threshold.declined
    return declined


@compiled
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_random_images_of_each_type(dtype):
    declined = [check(image) for image in random_images(seed=TYPES.index(dtype), count=400, types=(dtype,))]
    assert sum(declined) < NOT_ALL_DECLINED * len(declined)


@compiled
def test_larger_random_images():
    declined = [check(image) for image in random_images(seed=11, count=60, largest=400)]
    assert sum(declined) < NOT_ALL_DECLINED * len(declined)


def test_widths_around_those_that_loops_take_at_once():
    rng = np.random.default_rng(5)
    for width in (*range(1, 20), 63, 64, 65, 127, 128, 129, 130, 131, 134, 255, 256, 257):
        counts = rng.poisson(2, (12, width)).astype(np.uint16)
        counts[rng.random(counts.shape) < 0.02] = rng.choice([40, 6600, 6601, 9000])
        for extended in (False, True):
            parameters = DispersionParameters(extended)
            usable = np.ones(counts.shape, np.bool_)
            found = make_threshold(usable, (-1.0, 60000.0), parameters).find(counts)
            assert np.array_equal(found, dials_pixels(counts, usable, parameters)), width


@compiled
@pytest.mark.slow
@settings(max_examples=1500)
@given(st.integers(0, 2**64 - 1), st.integers(1, 120))
def test_images_that_hypothesis_chooses(seed, largest):
    check(random_image(np.random.default_rng(seed), largest))


@compiled
@pytest.mark.slow
@settings(max_examples=1500)
@given(st.data())
def test_small_images_that_hypothesis_writes_down(data):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    few = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 9, 6600, 6601, 6602, 65534, 65535])
    size = shape[0] * shape[1]
    counts = np.array(data.draw(st.lists(few, min_size=size, max_size=size)), np.uint16).reshape(shape)
    usable = np.array(data.draw(st.lists(st.booleans() | st.just(True), min_size=size, max_size=size))).reshape(shape)
    parameters = DispersionParameters(
        extended=data.draw(st.booleans()),
        sigma_background=data.draw(st.sampled_from([6.0, 0.0, 1.0, 3.5])),
        sigma_strong=data.draw(st.sampled_from([3.0, 0.0, 1.0])),
        min_count=data.draw(st.sampled_from([2, 0, 3, 10])),
    )
    expected = dials_pixels(counts, usable, parameters)
    for processor in COMPILED.PROCESSORS:
        found = CompiledThreshold(usable, (-1.0, 65536.0), parameters, ask_dials(), processor=processor).find(counts)
        assert found is None or np.array_equal(found, expected)


def test_dials_kept_finds_what_dials_made_anew_finds():
    by_shape = {}
    for image in random_images(seed=3, count=150):
        threshold = DialsThreshold(image.usable, image.trusted, image.parameters, ask_dials())
        expected = dials_pixels(image.counts, image.valid, image.parameters)
        assert np.array_equal(threshold.find(image.counts), expected), image
        by_shape[image.counts.shape] = threshold, image, expected.copy()
    for threshold, image, expected in by_shape.values():  # and again, after another image
        threshold.find(np.zeros_like(image.counts))
        assert np.array_equal(threshold.find(image.counts), expected), image


def test_panels_of_one_size_share_dials_and_have_each_their_own_pixels():
    counts = np.ones((30, 40), np.uint16)
    counts[10:13, 20:23] = 100
    shaded = np.ones(counts.shape, np.bool_)
    shaded[11, 21] = False
    parameters = DispersionParameters(extended=False)
    whole, part = (DialsThreshold(usable, (-1.0, 6e4), parameters) for usable in (np.ones_like(shaded), shaded))
    assert whole._workspace is part._workspace
    found = whole.find(counts)
    assert [len(found), len(part.find(counts)), len(whole.find(counts))] == [9, 8, 9]
    assert len(found) == 9
    other = DialsThreshold(shaded, (-1.0, 6e4), DispersionParameters(extended=False, sigma_strong=1e9))
    assert len(other.find(counts)) == 0


def test_the_dials_at_hand_goes_by_the_rules_that_it_was_asked_for():
    gaps_erode = ask_dials().gaps_erode
    for image in random_images(seed=13, count=150):
        if image.valid.any() and image.counts[image.valid].max() < 1 << 24 and image.counts[image.valid].min() >= 0:
            expected = strong_pixels(image.counts, image.valid, image.parameters, gaps_erode)
            assert np.array_equal(dials_pixels(image.counts, image.valid, image.parameters), expected), image


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("images", ["l_cysteine/*.cbf.gz", "thaumatin_grid/*.cbf.bz2", "therm/*.nxs"])
def test_all_real_images(real_data, images):
    files = sorted(real_data.glob(images))
    data_sets = DataSets()
    for path in files:
        with data_sets.using(str(path)) as data_set:
            check_panels(data_set.imageset)
    assert files


def check_panels(imageset):
    """Compare on each panel of a file's first image."""
    from dxtbx import flumpy

    panels = zip(imageset.get_raw_data(0), imageset.get_mask(0), imageset.get_detector(), strict=True)
    for counts, mask, panel in panels:
        raw, valid = flumpy.to_numpy(counts), flumpy.to_numpy(mask)
        if raw.dtype == np.int64:  # as dxtbx has frames of 32 bits without a sign
            raw = np.where(valid, raw, 0).astype(np.int32)
        for extended in (False, True):
            parameters = DispersionParameters(extended)
            found = make_threshold(valid, panel.get_trusted_range(), parameters).find(raw)
            assert np.array_equal(found, dials_pixels(raw, valid, parameters))
