"""Analysers, and masters whose counts, mask and detector a test chooses."""

import shutil
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 read bitshuffle-LZ4
import numpy as np
import pytest

from tasks.diffraction.requests import AnalysisParameters, ImageRequest
from tasks.nexus.opening import open_file

ALGORITHMS = ("dispersion", "dispersion_extended")


@pytest.fixture(params=ALGORITHMS)
def analyser(request):
    from tasks.diffraction.analyser import Analyser

    return Analyser(AnalysisParameters(threshold_algorithm=request.param).options)


@pytest.fixture
def compare(analyser):
    """Analyse an image the own way and by DIALS, one after the other; None: DIALS had to do it."""

    def compare(file, number=None):
        scan_range = None if number is None else (number, number)
        analysis = analyser.examine(ImageRequest(str(file), analyser.options, scan_range, check=True))
        assert analysis.by_dials is None
        assert analysis.corrected is None
        return analysis.statistics

    return compare


@pytest.fixture
def make_master(pictures, tmp_path):
    """Write a master beside its data: with other counts, mask or fields of the detector."""

    def make_master(name="scan", counts=None, mask=None, **fields):
        whole = Path(pictures.rotation_master)
        folder = tmp_path / name
        shutil.copytree(whole.parent, folder)
        master = folder / whole.name
        with h5py.File(master, "r+") as file:
            detector = file["entry/instrument/detector"]
            for field, value in fields.items():
                detector[field][()] = value
            if mask is not None:
                detector["pixel_mask"][:] = mask
            if counts is not None:
                attributes = dict(file["entry/data"].attrs)
                del file["entry/data/data"]
                file["entry/data/data"] = counts
                file["entry/data"].attrs.update(attributes)
        return str(master)

    return make_master


@pytest.fixture(scope="session")
def rendered(pictures):
    """The counts of the rotation: images, (slow, fast) each."""
    with open_file(pictures.rotation_master) as file:  # which dxtbx may have open in its way
        return np.asarray(file["entry/data/data"])
