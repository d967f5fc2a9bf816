"""The energy scan that says what anomalous scattering to expect of a data collection."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.ispyb_access.reading.parameters import EnergyScanInfo

HC_EV_A = 12398.42  # photon energy in eV times wavelength in Å
REMOTE_EV = 30.0  # from the peak or the inflection, as Zocalo has it


@dataclass(frozen=True)
class EnergyScanRow:
    """What ISPyB says of a scan: energies in eV, f′ and f″ in electrons."""

    scan_id: int
    sample: int | None
    element: str
    peak: float | None
    peak_fp: float | None
    peak_fpp: float | None
    inflection: float | None
    inflection_fp: float | None
    inflection_fpp: float | None

    @property
    def edges(self) -> tuple[float, float] | tuple[()]:
        """Peak and inflection, eV; nothing if one isn't known."""
        return () if self.peak is None or self.inflection is None else (self.peak, self.inflection)


def choose_energy_scan(
    scans: Sequence[EnergyScanRow], sample: int | None, wavelength_a: float | None
) -> EnergyScanInfo | None:
    """Choose the scan whose peak or inflection is nearest in energy; those of the sample itself go first.

    Scans without peak or inflection count for nothing, and so do all if the wavelength isn't known. Of two that are as
    near, it is the earlier one.

    Parameters
    ----------
    scans
        In the order of their ids.
    sample
        Id of the collection's sample.
    wavelength_a
        The collection's, Å.
    """
    if not wavelength_a or wavelength_a < 0:
        return None
    energy = HC_EV_A / wavelength_a
    distances = {scan: min(abs(edge - energy) for edge in scan.edges) for scan in scans if scan.edges}
    of_sample = [scan for scan in distances if scan.sample == sample]
    nearest = min(of_sample or distances, key=lambda scan: distances[scan], default=None)
    return None if nearest is None else _describe(nearest, edge_position(energy, *nearest.edges))


def edge_position(energy: float, peak: float, inflection: float) -> str:
    """Say where an energy lies with regard to an absorption edge: `hrem`, `peak`, `infl` or `lrem` (all in eV)."""
    if energy > peak + REMOTE_EV:
        return "hrem"
    if energy < inflection - REMOTE_EV:
        return "lrem"
    return "infl" if abs(energy - inflection) < abs(energy - peak) else "peak"


def _describe(scan: EnergyScanRow, position: str) -> EnergyScanInfo:
    found = {"energyscanid": scan.scan_id, "atom_type": scan.element, "edge_position": position}
    match position:
        case "peak":
            return EnergyScanInfo(**found, fp=scan.peak_fp, fpp=scan.peak_fpp)
        case "infl":
            return EnergyScanInfo(**found, fp=scan.inflection_fp, fpp=scan.inflection_fpp)
    return EnergyScanInfo(**found)
