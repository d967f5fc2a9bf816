"""A data collection whose recipe run is killed while images come: no image is lost, none is analysed twice."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from blocks.errors import UnknownRecipeRun
from flows.recipe.run_record.entries import Began, Sent
from flows.recipe.run_record.journal import read_journal
from flows.recipe.run_record.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.dials]

IMAGES = 48
ANALYSIS = 2  # the node in per-image-analysis-gridscan


def find_analysis(beamline, before):
    """Return the folder of the per-image analysis that began since, or None."""
    for folder in set(beamline.runs()) - before:
        with suppress(UnknownRecipeRun):
            if read_manifest(folder).recipe == "per-image-analysis-gridscan":
                return folder
    return None


def results(folder):
    """Images whose analysis was sent on, and how often."""
    entries = read_journal(folder.journal) if folder else ()
    sent = [send for entry in entries if isinstance(entry, Sent) and entry.node == ANALYSIS for send in entry.sends]
    return Counter(send.payload["file-number"] for send in sent)


def test_a_grid_scan_whose_run_is_killed_is_centred_all_the_same(beamline, written):
    before = set(beamline.runs())
    words = ("grid", "--grid", "8x6", "--centre", "4.5,3.0", "--beamline", "i24", "--rate", "12")
    with ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(beamline.collect, *words)
        deadline = time.monotonic() + 240
        while len(results(folder := find_analysis(beamline, before))) < IMAGES // 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [process] = [entry for entry in read_journal(folder.journal) if isinstance(entry, Began)]
        os.kill(process.pid, signal.SIGKILL)
        resumed = beamline.plaza("resume", folder.recipe_run, "--wait")
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        [record] = collecting.result()
    assert results(folder) == dict.fromkeys(range(1, IMAGES + 1), 1)
    rows = written(record)
    assert rows.image_quality.image_number.tolist() == list(range(1, IMAGES + 1))
    [centring] = rows.centrings
    assert centring.centre_x == pytest.approx(4.5, abs=0.6)
    assert centring.centre_y == pytest.approx(3.0, abs=0.6)
