"""What thresholds take and refuse, and the compiled one beside the same written plainly."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from tasks.diffraction.kernel import CompiledThreshold, DispersionParameters, why_not_compiled
from tasks.diffraction.kernel.compiled import COMPILED
from tasks.diffraction.kernel.threshold import DialsRules, trusted_counts
from tests.support.plain_dispersion import strong_pixels
from tests.support.random_images import random_images

compiled = pytest.mark.skipif(COMPILED is None, reason=f"the kernel: {why_not_compiled()}")

DISPERSION, EXTENDED = DispersionParameters(extended=False), DispersionParameters(extended=True)
TRUSTED = (-1.0, 60000.0)


def all_usable(*shape):
    return np.ones(shape, np.bool_)


def with_spot(dtype=np.uint16, shape=(30, 40)):
    counts = np.ones(shape, dtype)
    counts[10:13, 20:23] = 100
    return counts


@pytest.mark.parametrize(
    ("trusted", "dtype", "ends_trusted", "counts"),
    [
        ((-1, 100), "int32", False, (0, 99)),
        ((-1, 100), "int32", True, (-1, 100)),
        ((-0.5, 99.5), "int32", False, (0, 99)),
        ((-0.5, 99.5), "int32", True, (0, 99)),
        ((-1000, 1e300), "uint16", False, (0, 65535)),
        ((-math.inf, math.inf), "int8", False, (-128, 127)),
        ((-1, 65535), "uint16", False, (0, 65534)),
        ((0, 4294967295), "uint32", True, (0, 4294967295)),
    ],
)
def test_trusted_counts_are_those_between_the_ends(trusted, dtype, ends_trusted, counts):
    assert trusted_counts(trusted, np.dtype(dtype), ends_trusted) == counts


@pytest.mark.parametrize("trusted", [(5, 6), (300, 400), (-5, -4), (7, 3)])
def test_where_no_count_is_trusted_the_lowest_is_over_the_highest(trusted):
    lowest, highest = trusted_counts(trusted, np.dtype(np.uint8), ends_trusted=False)
    assert lowest > highest


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma_background": -1.0},
        {"sigma_strong": math.nan},
        {"sigma_strong": math.inf},
        {"global_threshold": -0.5},
        {"min_count": 1},
        {"min_count": 50},
    ],
)
def test_parameters_that_dials_would_not_take_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DispersionParameters(extended=False, **wrong)


@compiled
@pytest.mark.parametrize("gaps_erode", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_finds_what_plain_arithmetic_finds(seed, gaps_erode):
    declined = 0
    for image in random_images(seed, 100):
        for processor in COMPILED.PROCESSORS:
            threshold = CompiledThreshold(
                image.usable, image.trusted, image.parameters, DialsRules(gaps_erode=gaps_erode), processor=processor
            )
            found = threshold.find(image.counts)
            if found is None:
                declined += 1
                continue
            expected = strong_pixels(image.counts, image.valid, image.parameters, gaps_erode)
            assert np.array_equal(found, expected), (image, processor)
    assert declined < 0.25 * 100 * len(COMPILED.PROCESSORS)


@compiled
def test_ends_of_the_trusted_range_are_trusted_by_later_versions():
    counts = with_spot()
    trusted = (0.0, 100.0)
    early, late = (
        CompiledThreshold(all_usable(30, 40), trusted, DISPERSION, DialsRules(ends_trusted=ends)).find(counts)
        for ends in (False, True)
    )
    assert early.size == 0
    assert late.size == 9


@compiled
def test_memory_is_kept_from_image_to_image():
    threshold = CompiledThreshold(all_usable(30, 40), TRUSTED, EXTENDED)
    first = threshold.find(with_spot())
    assert np.shares_memory(first, threshold.find(with_spot()))
    assert threshold.find(np.ones((30, 40), np.uint16)).size == 0
    assert threshold.find(with_spot()).size == 9


@compiled
def test_the_mask_is_copied():
    usable = all_usable(30, 40)
    threshold = CompiledThreshold(usable, TRUSTED, DISPERSION)
    usable[:] = False
    assert threshold.find(with_spot()).size == 9


@compiled
def test_arrays_that_do_not_lie_in_memory_as_the_kernel_wants_are_taken():
    expected = CompiledThreshold(all_usable(30, 40), TRUSTED, DISPERSION).find(with_spot()).copy()
    wide = np.ones((30, 80), np.uint16)
    wide[:, ::2] = with_spot()
    shifted = np.zeros(30 * 40 * 2 + 1, np.uint8)[1:].view(np.uint16).reshape(30, 40)
    shifted[:] = with_spot()
    for counts in (wide[:, ::2], np.asfortranarray(with_spot()), shifted):
        assert np.array_equal(CompiledThreshold(all_usable(30, 40), TRUSTED, DISPERSION).find(counts), expected)


@compiled
@pytest.mark.parametrize(
    ("counts", "trusted", "why"),
    [
        (with_spot(np.int64), TRUSTED, "counts are int64"),
        (with_spot(np.float32), TRUSTED, "counts are float32"),
        (with_spot(">u2"), TRUSTED, "counts are >u2"),
        (with_spot(np.int16) * np.int16(-1), (-1000.0, 60000.0), "negative counts are trusted"),
        (with_spot(np.uint32) * np.uint32(1 << 24), (-1.0, 4e9), r"a pixel counts 2\^24 or more"),
    ],
)
def test_what_is_not_proven_is_left_to_dials_with_the_reason(counts, trusted, why):
    threshold = CompiledThreshold(all_usable(30, 40), trusted, EXTENDED)
    assert threshold.find(counts) is None
    assert threshold.declined == why.replace("\\", "")
    assert threshold.find(with_spot()).size == 9
    assert threshold.declined == ""


@compiled
def test_an_image_may_be_strong_all_over():
    everything = DispersionParameters(extended=False, sigma_background=0, sigma_strong=0)
    counts = np.full((60, 60), 50, np.uint16)
    counts[::4, ::4] = 0
    assert CompiledThreshold(all_usable(60, 60), TRUSTED, everything).find(counts).size > 3000


@compiled
def test_counts_that_could_make_sums_inexact_are_left_to_dials():
    counts = np.full((200, 200), (1 << 24) - 1, np.uint32)
    threshold = CompiledThreshold(all_usable(200, 200), (-1.0, 4e9), DISPERSION)
    assert threshold.find(counts) is None
    assert threshold.declined == "counts are too high for exact sums"


@compiled
def test_negative_counts_that_are_masked_do_not_matter():
    counts = with_spot(np.int16)
    counts[:, :5] = -3
    usable = all_usable(30, 40)
    usable[:, :5] = False
    assert CompiledThreshold(usable, (-1000.0, 60000.0), DISPERSION).find(counts).size == 9


@compiled
def test_negative_counts_that_are_not_trusted_do_not_matter_where_others_would_be():
    counts = with_spot(np.int32)
    counts[:, :5] = -2
    threshold = CompiledThreshold(all_usable(30, 40), (-2.0, 60000.0), DISPERSION)  # its ends aren't trusted
    assert threshold.find(counts).size == 9
    counts[3, 3] = -1
    assert threshold.find(counts) is None
    assert threshold.declined == "negative counts are trusted"


@compiled
@pytest.mark.parametrize(
    ("usable", "trusted"),
    [
        (np.ones((30, 40), np.uint8), TRUSTED),
        (np.ones(30, np.bool_), TRUSTED),
        (np.ones((0, 40), np.bool_), TRUSTED),
        (all_usable(30, 40), (math.nan, 5.0)),
    ],
)
def test_masks_and_ranges_that_no_panel_has_are_refused(usable, trusted):
    with pytest.raises(ValueError, match="seen"):
        CompiledThreshold(usable, trusted, DISPERSION)


@compiled
def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected an image of \(30, 40\) pixels .*, seen \(40, 30\)"):
        CompiledThreshold(all_usable(30, 40), TRUSTED, DISPERSION).find(np.ones((40, 30), np.uint16))


@compiled
def test_threads_with_thresholds_of_their_own_do_not_disturb_each_other():
    images = [image for image in random_images(7, 40) if image.counts.dtype.itemsize > 1]
    expected = [find(image) for image in images]
    seen = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda own=own: own.extend(map(find, images))) for own in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 4


def find(image):
    found = CompiledThreshold(image.usable, image.trusted, image.parameters).find(image.counts)
    return None if found is None else found.tolist()
