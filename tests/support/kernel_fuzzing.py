"""Random images and streams for a build of the kernel, whose sanitizers end the process at the first wrong step.

python -m tests.support.kernel_fuzzing EXTENSION IMAGES STREAMS
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys

import numpy as np

NAME = "tasks.diffraction.kernel._compiled"


def main() -> None:
    """Put the build in the place of the installed one, before that is looked for."""
    extension, images, streams = sys.argv[1], *map(int, sys.argv[2:])
    loader = importlib.machinery.ExtensionFileLoader(NAME, extension)
    spec = importlib.util.spec_from_file_location(NAME, extension, loader=loader)
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    loader.exec_module(sys.modules[NAME])

    from tasks.diffraction.kernel.compiled import COMPILED

    assert COMPILED.__file__ == extension
    found = sum(fuzz_images(COMPILED.PROCESSORS, seed, images // 4) for seed in range(4))
    decoded = fuzz_streams(np.random.default_rng(0), COMPILED.PROCESSORS, streams)
    sys.stdout.write(f"{found} pixels found, {decoded} of {streams} streams decoded, {COMPILED.PROCESSORS}\n")


def fuzz_images(processors: tuple[str, ...], seed: int, count: int) -> int:
    """Compare with plain arithmetic; return how many strong pixels there were."""
    from tasks.diffraction.kernel import CompiledThreshold
    from tests.support.plain_dispersion import strong_pixels
    from tests.support.random_images import random_images

    strong = 0
    for image in random_images(seed, count, largest=150):
        expected = None
        for processor in processors:
            threshold = CompiledThreshold(image.usable, image.trusted, image.parameters, processor=processor)
            found = threshold.find(image.counts)
            if found is None:
                continue
            if expected is None:
                expected = strong_pixels(image.counts, image.valid, image.parameters)
            assert np.array_equal(found, expected), (image, processor)
            strong += found.size
    return strong


def fuzz_streams(rng: np.random.Generator, processors: tuple[str, ...], count: int) -> int:
    """Decode bytes of all sorts by both ways; return how many streams held an image."""
    from tasks.diffraction.kernel.byte_offset import _decode_compiled, _decode_in_python

    decoded = 0
    for _ in range(count):
        data = rng.choice([0, 1, 255, 127, 128, 129], rng.integers(0, 300)).astype(np.uint8)
        if rng.random() < 0.5:
            data[rng.random(data.size) < 0.9] = 1
        pixels, answers = int(rng.integers(1, 300)), []
        for decode in (_decode_in_python, *(lambda *both, own=own: _decode_compiled(*both, own) for own in processors)):
            counts = np.zeros(pixels, np.int32)
            try:
                answers.append((decode(data.copy(), counts), counts.tolist()))
            except ValueError as error:
                answers.append(str(error))
        assert answers == answers[:1] * len(answers)
        decoded += not isinstance(answers[0], str)
    return decoded


if __name__ == "__main__":
    main()
