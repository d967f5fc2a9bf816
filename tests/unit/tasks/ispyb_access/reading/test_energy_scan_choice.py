"""Which energy scan a data collection goes by, and where its energy lies."""

import pytest

from tasks.ispyb_access.reading.energy_scan import HC_EV_A, EnergyScanRow, choose_energy_scan, edge_position

PEAK, INFLECTION = 12660.0, 12656.0  # of selenium


def scan(number, sample=1, peak=PEAK, inflection=INFLECTION, element="Se"):
    return EnergyScanRow(number, sample, element, peak, -8.0, 6.0, inflection, -11.0, 3.0)


def choose(scans, energy=PEAK, sample=1):
    found = choose_energy_scan(scans, sample, HC_EV_A / energy)
    return None if found is None else found.model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    ("energy", "position"),
    [
        (PEAK + 31, "hrem"),
        (PEAK + 29, "peak"),
        (PEAK, "peak"),
        (PEAK - 1.9, "peak"),
        (PEAK - 2, "peak"),  # as near to both
        (PEAK - 2.1, "infl"),
        (INFLECTION, "infl"),
        (INFLECTION - 29, "infl"),
        (INFLECTION - 31, "lrem"),
    ],
)
def test_energy_lies_at_the_edge_or_far_from_it(energy, position):
    assert edge_position(energy, PEAK, INFLECTION) == position


@pytest.mark.parametrize(
    ("energy", "scattering"),
    [
        (PEAK, {"edge_position": "peak", "fp": -8.0, "fpp": 6.0}),
        (INFLECTION, {"edge_position": "infl", "fp": -11.0, "fpp": 3.0}),
        (13000.0, {"edge_position": "hrem"}),
        (12000.0, {"edge_position": "lrem"}),
    ],
)
def test_scattering_factors_are_those_of_the_place_that_was_scanned(energy, scattering):
    assert choose([scan(7)], energy) == {"energyscanid": 7, "atom_type": "Se"} | scattering


@pytest.mark.parametrize(
    ("scans", "chosen"),
    [
        ([], None),
        ([scan(1, peak=9660.0, inflection=9656.0, element="Zn"), scan(2)], 2),
        ([scan(1, sample=5), scan(2, sample=1, peak=9660.0, inflection=9656.0)], 2),  # the sample's own goes first
        ([scan(1, sample=5, peak=9660.0, inflection=9656.0), scan(2, sample=6)], 2),  # another one of the protein
        ([scan(1, peak=None), scan(2, inflection=None)], None),
        ([scan(1, peak=None), scan(2, sample=5)], 2),  # the sample's own says nothing
        ([scan(1), scan(2)], 1),
        ([scan(1, sample=None)], 1),
    ],
)
def test_nearest_scan_is_chosen(scans, chosen):
    assert (choose(scans) or {}).get("energyscanid") == chosen


@pytest.mark.parametrize("wavelength", [None, 0.0, -1.0])
def test_without_wavelength_there_is_no_choice(wavelength):
    assert choose_energy_scan([scan(1)], 1, wavelength) is None
