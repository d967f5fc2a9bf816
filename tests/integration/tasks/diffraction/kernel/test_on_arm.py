"""On a 64-bit Arm the kernel finds the same pixels: compiled for one, and run by an emulator."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from tasks.diffraction.kernel.threshold import trusted_counts
from tests.support.kernel_builds import build_driver
from tests.support.plain_dispersion import strong_pixels
from tests.support.random_images import TYPES, random_images

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason="gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user aren't installed",
)


def as_input(image):
    """Return an image as `kernel_driver.c` reads it."""
    lowest, highest = trusted_counts(image.trusted, image.counts.dtype, ends_trusted=False)
    p = image.parameters
    head = [*image.counts.shape, TYPES.index(image.counts.dtype), lowest, highest, p.extended, True, p.least_pixels]
    limits = np.array([p.sigma_background, p.sigma_strong, p.global_threshold])
    arrays = np.array(head, np.int64), limits, image.counts, image.usable
    return b"".join(array.tobytes() for array in arrays)


def answers(output):
    """Yield what was found in each image; None where it was declined."""
    numbers, at = np.frombuffer(output, np.int64), 0
    while at < numbers.size:
        count, at = numbers[at], at + 1
        yield None if count < 0 else numbers[at : at + count]
        at += max(count, 0)


def test_pixels_are_the_same_on_a_64_bit_arm(tmp_path):
    images = [
        image
        for image in random_images(seed=17, count=600)
        if trusted_counts(image.trusted, image.counts.dtype, ends_trusted=False)[0] >= 0 and image.valid.any()
    ]
    driver = build_driver(tmp_path, COMPILER, "-static")
    sent = b"".join(map(as_input, images))
    found = list(answers(subprocess.run([EMULATOR, driver], input=sent, capture_output=True, check=True).stdout))
    assert len(found) == len(images) > 200
    for image, pixels in zip(images, found, strict=True):
        if pixels is None:
            assert image.counts[image.valid].max() >= 1 << 24
        else:
            assert np.array_equal(pixels, strong_pixels(image.counts, image.valid, image.parameters)), image
