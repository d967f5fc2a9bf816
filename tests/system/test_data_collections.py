"""Data collections on the simulated beamline, from the start event to ISPyB."""

import json
import xml.etree.ElementTree as ET

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.dials]


def names(runs, record):
    """Names of a data collection's runs without its dcid."""
    return {name.split(" · ")[0] for name, run in runs.items() if run.dcid == record.dcid}


def newest_json(folder, pattern):
    """Read the newest JSON file of a pattern."""
    return json.loads(max(folder.glob(pattern), key=lambda path: path.stat().st_mtime).read_text())


def assert_completed(runs):
    assert {name: run.state for name, run in runs.items() if run.state != "Completed"} == {}, [
        run.message for run in runs.values()
    ]


def test_a_pilatus_grid_scan_is_centred_archived_and_stored(beamline, since, written):
    [record] = beamline.collect("grid", "--grid", "5x4", "--centre", "2.8,1.9", "--beamline", "i24", "--rate", "20")
    runs = beamline.await_runs(since, [record])
    assert_completed(runs)
    assert names(runs, record) == {"mimas start", "mimas end", "archive-cbfs", "per-image-analysis-gridscan"}
    rows = written(record)
    assert rows.image_quality.image_number.tolist() == list(range(1, 21))
    assert rows.image_quality.spots_total.argmax() + 1 == record.truth.best_image
    [centring] = rows.centrings
    assert centring.centre_x == pytest.approx(2.8, abs=0.5)
    assert centring.centre_y == pytest.approx(1.9, abs=0.5)
    answer = newest_json(beamline.settings.home, "data/i24/**/Dials5AResults.json")
    assert (answer["centre_x_box"], answer["centre_y_box"]) == (centring.centre_x, centring.centre_y)
    [dropfile] = beamline.settings.home.glob("data/i24/**/archive/*.xml")
    assert len(ET.parse(dropfile).getroot().findall(".//datafile")) == 20
    [steps] = beamline.artifacts(runs[f"per-image-analysis-gridscan · dcid {record.dcid}"], "recipe-steps")
    assert [row["state"] for row in json.loads(steps)] == ["done"] * 6


def test_an_eiger_rotation_is_analysed_previewed_and_archived(beamline, since, written):
    [record] = beamline.collect("rotation", "--images", "12", "--format", "nxs", "--beamline", "i04", "--rate", "20")
    runs = beamline.await_runs(since, [record])
    assert_completed(runs)
    assert names(runs, record) == {
        "mimas start",
        "mimas end",
        "archive-nexus",
        "per-image-analysis-rotation-swmr",
        "generate-diffraction-preview",
    }
    quality = written(record).image_quality
    assert quality.image_number.tolist() == list(range(1, 13))
    assert (quality.spots_total > 20).all()
    previews = {path.name for path in beamline.settings.home.glob("data/i04/**/jpegs/**/*.jpeg")}
    assert {"lysozyme_1.jpeg", "lysozyme_1t.jpeg"} <= previews
    [dropfile] = beamline.settings.home.glob("data/i04/**/archive/*.xml")
    locations = [element.text.rsplit("/")[-1] for element in ET.parse(dropfile).getroot().findall(".//location")]
    assert sorted(locations) == ["lysozyme_1.nxs", "lysozyme_1_000001.h5"]


def test_an_eiger_grid_scan_is_centred(beamline, since, written):
    [record] = beamline.collect(
        "grid",
        "--grid",
        "4x3",
        "--centre",
        "1.5,1.5",
        "--format",
        "nxs",
        "--beamline",
        "i04",
        "--rate",
        "20",
        "--snaked",
    )
    runs = beamline.await_runs(since, [record])
    assert_completed(runs)
    assert "per-image-analysis-gridscan-i03" in names(runs, record)
    [centring] = written(record).centrings
    assert centring.centre_x == pytest.approx(1.5, abs=0.5)


def test_a_screening_gets_a_preview(beamline, since):
    [record] = beamline.collect("screening", "--beamline", "i03", "--rate", "5")
    runs = beamline.await_runs(since, [record])
    assert_completed(runs)
    assert names(runs, record) == {
        "mimas start",
        "mimas end",
        "archive-cbfs",
        "per-image-analysis-rotation",
        "generate-diffraction-preview",
    }


def test_the_same_event_twice_runs_everything_once(beamline, since):
    [record] = beamline.collect("rotation", "--images", "2", "--beamline", "i24", "--rate", "20")
    runs = beamline.await_runs(since, [record])
    for _ in range(2):
        again = beamline.plaza(
            "prefect", "deployment", "run", "mimas/start", "--param", f"dcid={record.dcid}", "--watch"
        )
        assert again.returncode == 0, again.stdout + again.stderr
    later = beamline.await_runs(since, [record])
    assert names(later, record) == names(runs, record)
    recipes = [run for run in later.values() if not run.is_mimas]
    assert len(recipes) == len({run.name for run in recipes}) == len([run for run in runs.values() if not run.is_mimas])


def test_an_unknown_data_collection_fails_with_its_number(beamline):
    for deployment in ("mimas/end", "generate-diffraction-preview/live"):
        failed = beamline.plaza("prefect", "deployment", "run", deployment, "--param", "dcid=424242", "--watch")
        assert failed.returncode != 0
        assert "424242" in failed.stdout


@pytest.mark.real_data
def test_a_real_grid_line_is_strongest_in_its_third_image(beamline, since, written, real_data):
    [record] = beamline.collect("--from", str(real_data / "thaumatin_grid"), "--beamline", "i24", "--rate", "10")
    runs = beamline.await_runs(since, [record])
    assert_completed(runs)
    quality = written(record).image_quality
    assert quality.image_number.tolist() == list(range(1, 20))
    assert quality.spots_total.argmax() + 1 == 3
    answer = newest_json(beamline.settings.home, "data/i24/**/Dials5AResults.json")
    assert answer["best_image"] == 3


@pytest.mark.real_data
def test_real_sweeps_are_analysed_each_on_its_own(beamline, since, written, real_data):
    records = beamline.collect("--from", str(real_data / "l_cysteine"), "--beamline", "i24", "--rate", "30")
    assert len(records) == 4
    runs = beamline.await_runs(since, records)
    assert_completed(runs)
    for record in records:
        assert written(record).image_quality.image_number.tolist() == list(range(1, 16))
