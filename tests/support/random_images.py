"""Images of all sorts for the spot finder: backgrounds, spots, gaps, dead pixels, saturation, any integer type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.diffraction.kernel import DispersionParameters

TYPES = tuple(map(np.dtype, ("int8", "uint8", "int16", "uint16", "int32", "uint32")))


@dataclass(frozen=True)
class RandomImage:
    """An image of one panel, and what is to be found in it."""

    counts: np.ndarray
    usable: np.ndarray
    trusted: tuple[float, float]
    parameters: DispersionParameters

    @property
    def valid(self) -> np.ndarray:
        """Which pixels count, as dxtbx before 3.12 masks them: (slow, fast)."""
        as_double = self.counts.astype(float)
        return self.usable & (self.trusted[0] < as_double) & (as_double < self.trusted[1])

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.counts.shape))
        return f"{size} {self.counts.dtype}, mean {self.counts.mean():.3g}, trusted {self.trusted}, {self.parameters}"


def random_images(
    seed: int, count: int, largest: int = 60, types: tuple[np.dtype, ...] = TYPES
) -> Iterator[RandomImage]:
    """Yield images, the same for a seed; half of them are smaller than a few windows, from 1 x 1 pixel on."""
    for number in range(count):
        yield random_image(np.random.default_rng((seed, number)), largest, types)


def random_image(rng: np.random.Generator, largest: int = 60, types: tuple[np.dtype, ...] = TYPES) -> RandomImage:
    """Return an image; `largest`: pixels along a side."""
    shape = tuple(int(rng.integers(1, rng.choice([16, largest]) + 1)) for _ in range(2))
    dtype = types[rng.integers(len(types))]
    top = int(np.iinfo(dtype).max)
    counts = np.minimum(_scene(rng, shape, min(top, 30000)), top)
    for _ in range(rng.integers(0, 4)):  # hot, saturated, over 2^24
        hot = rng.choice([6600, 6601, 65535, 1_100_000, (1 << 24) - 1, 20_000_000, top])
        counts[rng.integers(shape[0]), rng.integers(shape[1])] = min(int(hot), top)
    if dtype.kind == "i":
        counts[rng.random(shape) < rng.choice([0, 0.02, 0.2])] = rng.choice([-1, -2, np.iinfo(dtype).min])
    return RandomImage(counts.astype(dtype), _usable(rng, shape), (_lowest(rng), _highest(rng, top)), _parameters(rng))


def _scene(rng: np.random.Generator, shape: tuple[int, ...], brightest: int) -> np.ndarray:
    """Return background and spots, as counts of 64 bits."""
    level = 10 ** rng.uniform(-3, np.log10(brightest))
    ramp = 1 + rng.random() * np.linspace(0, 3, shape[1])
    counts = rng.poisson(level * ramp * np.ones(shape)).astype(np.int64)
    if rng.random() < 0.2:
        counts[:] = int(level)
    slow, fast = np.mgrid[: shape[0], : shape[1]]
    for _ in range(rng.integers(0, 8)):
        y, x = rng.integers(shape[0]), rng.integers(shape[1])
        peak, width = 10 ** rng.uniform(0, 5.5), rng.uniform(0.4, 3)
        counts += rng.poisson(peak * np.exp(-((slow - y) ** 2 + (fast - x) ** 2) / 2 / width**2))
    return counts


def _usable(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask: single pixels, and gaps that are narrower and wider than a window."""
    usable = rng.random(shape) >= rng.choice([0, 0.001, 0.1, 0.5, 0.97])
    if rng.random() < 0.5:
        usable[:, shape[1] // 2 :][:, : rng.integers(0, 9)] = False
    if rng.random() < 0.3:
        usable[shape[0] // 3 :][: rng.integers(0, 9)] = False
    return usable


def _lowest(rng: np.random.Generator) -> float:
    return float(rng.choice([-1, -1, -1, -0.5, 0, 3.5, -1000]))


def _highest(rng: np.random.Generator, top: int) -> float:
    return float(rng.choice([115897, 1048500, 65534.5, top, top - 1, 100.5, 4294967295, 1e300]))


def _parameters(rng: np.random.Generator) -> DispersionParameters:
    extended = bool(rng.random() < 0.5)
    if rng.random() < 0.6:
        return DispersionParameters(extended)
    return DispersionParameters(
        extended,
        sigma_background=float(rng.choice([0, rng.uniform(0, 8), 1e6])),
        sigma_strong=float(rng.choice([0, rng.uniform(0, 5)])),
        global_threshold=float(rng.choice([0, 0.5, 3, 6601])),
        min_count=int(rng.choice([-1, 0, 2, 3, 25, 49])),
    )
