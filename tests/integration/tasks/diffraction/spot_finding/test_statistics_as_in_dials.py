"""The statistics are DIALS's own to the last bit and of the same types, on any table of spots that DIALS accepts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.diffraction.requests import ImageStatistics

pytestmark = pytest.mark.dials

ICE_WIDTHS = (0.004, 0.002, 0.01, 0.05)
PLACES = ("anywhere", "on a grid", "of one resolution", "near ice", "with some in the beam")
INTENSITIES = ("wide", "few values", "not whole", "with outliers")


def make_places(random, kind, count):
    """Return lengths of reciprocal lattice vectors, 1/Å."""
    outermost = 10 ** random.uniform(-1.3, 0.05)
    norms = random.random(count) ** (1 / 3) * outermost + 1e-3
    if kind == "on a grid":
        return np.round(norms, 2) + 0.01
    if kind == "of one resolution":
        return np.full(count, outermost)
    if kind == "near ice":
        rings = np.array([0.0659, 0.0742, 0.0840, 0.1405, 0.1976, 0.2344, 0.2635, 0.2702, 0.2835])
        return np.sqrt(random.choice(rings, count) + random.uniform(-0.004, 0.004, count))
    if kind == "with some in the beam":
        norms[random.random(count) < 0.3] = 0
    return norms


def make_intensities(random, kind, count):
    """Return sums of counts."""
    if kind == "few values":
        return random.integers(1, 6, count).astype(float)
    if kind == "not whole":
        return 10 ** random.uniform(-2, 6, count)
    intensities = np.ceil(10 ** random.uniform(0, 5, count))
    if kind == "with outliers":
        intensities[random.random(count) < 0.1] *= 1000
    return intensities


def make_table(seed, count, places, intensities):
    """Return a DIALS reflection table."""
    from dials.array_family import flex

    random = np.random.default_rng(seed)
    directions = random.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    table = flex.reflection_table()
    vectors = np.ascontiguousarray(directions * make_places(random, places, count)[:, None])
    table["rlp"] = flex.vec3_double(vectors) if count else flex.vec3_double()
    values = make_intensities(random, intensities, count)
    table["intensity.sum.value"] = flex.double(values)
    background = random.integers(0, 9, count) if random.random() < 0.5 else 0
    table["intensity.sum.variance"] = flex.double(values + background)
    return table


def ask_dials(table, width):
    from dials.algorithms.spot_finding.per_image_analysis import stats_for_reflection_table

    ice = {"filter_ice": width is not None, "ice_rings_width": width or 0.004}
    return ImageStatistics(**stats_for_reflection_table(table, **ice)._asdict())


def summarise(table, width):
    from tasks.diffraction.spot_finding.statistics.columns import SpotColumns
    from tasks.diffraction.spot_finding.statistics.ice_rings import IceRings
    from tasks.diffraction.spot_finding.statistics.image_statistics import summarise

    return summarise(SpotColumns.of(table), None if width is None else IceRings(width))


def assert_the_same(table, width):
    """Compare with DIALS; return whether the table was left to it."""
    from tasks.diffraction.spot_finding.left_to_dials import LeftToDials

    try:
        ours = summarise(table, width).as_payload()
    except LeftToDials:
        return True
    theirs = ask_dials(table, width).as_payload()
    # As text: NaN is NaN, -0.0 isn't 0.0, and -1 isn't -1.0, in JSON neither.
    assert {name: repr(value) for name, value in ours.items()} == {name: repr(theirs[name]) for name in theirs}
    return False


TABLES = {
    "seed": st.integers(0, 2**32 - 1),
    "count": st.one_of(st.integers(0, 60), st.integers(0, 1500)),
    "places": st.sampled_from(PLACES),
    "intensities": st.sampled_from(INTENSITIES),
    "width": st.sampled_from((None, *ICE_WIDTHS)),
}


@given(**TABLES)
@settings(max_examples=300)
def test_random_tables(seed, count, places, intensities, width):
    assert_the_same(make_table(seed, count, places, intensities), width)


@pytest.mark.slow
@given(**TABLES)
@settings(max_examples=5000)
def test_thousands_of_random_tables(seed, count, places, intensities, width):
    assert_the_same(make_table(seed, count, places, intensities), width)


@pytest.mark.parametrize("count", [0, 1, 5, 9, 10, 11, 12, 19, 20, 40, 80, 81, 400, 5000])
def test_numbers_of_spots_at_which_something_begins(count):
    for seed in range(3):
        assert not assert_the_same(make_table(seed, count, "anywhere", "wide"), None)


def test_rings_are_those_of_dials_to_any_resolution():
    """One list of rings is kept while the outermost spot moves in and out, just over the ends of DIALS's list."""
    from cctbx import sgtbx, uctbx
    from dials.algorithms.integration.filtering import PowderRingFilter
    from dials.array_family import flex

    from tasks.diffraction.spot_finding.statistics.ice_rings import IceRings

    cell, group = uctbx.unit_cell((4.498, 4.498, 7.338, 90, 90, 120)), sgtbx.space_group_info(number=194).group()
    random = np.random.default_rng(1)
    for width in ICE_WIDTHS:
        rings = IceRings(width)
        places = PowderRingFilter(cell, group, 0.65, width).d_star_sq.as_numpy_array()
        edges = np.concatenate([places - width / 2, places + width / 2, places - width])
        for end in random.choice(edges[edges > 0.05], 60):
            nearby = end + np.array([-1e-12, 0, 1e-12, 1e-9])
            d = 1 / np.sqrt(np.concatenate([random.uniform(0.01, end, 50), random.choice(nearby, 1)]))
            wanted = PowderRingFilter(cell, group, float(d.min()), width)(flex.double(d)).as_numpy_array()
            assert (rings.select(d) == wanted).all()


def _with(column, value):
    table = make_table(1, 40, "anywhere", "wide")
    table[column][7] = value
    return table


BY_DIALS = {
    "a place that's no number": (lambda: _with("rlp", (float("nan"), 0, 0)), 0.004),
    "a place too far away": (lambda: _with("rlp", (1e200, 0, 0)), 0.004),
    "no intensity": (lambda: _with("intensity.sum.value", 0), None),
    "a negative intensity": (lambda: _with("intensity.sum.value", -5), None),
    "an infinite intensity": (lambda: _with("intensity.sum.value", float("inf")), None),
    "no variance": (lambda: _with("intensity.sum.variance", 0), None),
    "a variance that's no number": (lambda: _with("intensity.sum.variance", float("nan")), None),
    "one resolution": (lambda: _at_one_resolution(), None),
    "rings without width": (lambda: make_table(1, 40, "anywhere", "wide"), 0.0),
}


def _at_one_resolution():
    table = make_table(1, 40, "anywhere", "wide")
    for spot in range(len(table)):
        table["rlp"][spot] = (0.25, 0.0, 0.0)
    return table


@pytest.mark.parametrize(("make", "width"), BY_DIALS.values(), ids=BY_DIALS)
def test_what_dials_stumbles_over_is_left_to_it(make, width):
    assert assert_the_same(make(), width)
