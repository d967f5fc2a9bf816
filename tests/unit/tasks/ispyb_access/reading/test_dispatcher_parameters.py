"""Rules behind the `ispyb_…` parameters, as tables."""

from pathlib import PurePosixPath

import pytest

from tasks.ispyb_access.reading.classification import classify, detector_class, detector_name
from tasks.ispyb_access.reading.image_files import collection_name, image_file, image_pattern
from tasks.ispyb_access.reading.visit.paths import find_visit, output_directories, xia2_names


@pytest.mark.parametrize(
    ("facts", "true", "unknown"),
    [
        ({"number_of_images": 1800, "overlap": 0.0, "axis_range": 0.1}, {"rotation"}, set()),
        ({"number_of_images": 1800, "overlap": 0.0, "axis_range": 0.0}, set(), set()),
        ({"number_of_images": 200, "overlap": 0.0, "axis_range": 0.0, "has_grid": True}, {"grid"}, set()),
        ({"number_of_images": 3, "overlap": -44.5, "axis_range": 0.5}, {"screen"}, set()),
        ({"number_of_images": 1, "overlap": 0.0, "axis_range": 0.5}, {"screen", "rotation"}, set()),
        ({"number_of_images": 1, "overlap": None, "axis_range": None}, {"screen"}, {"rotation"}),
        ({"number_of_images": 0, "overlap": 0.0, "axis_range": 0.1}, {"rotation"}, set()),
        (
            {"number_of_images": 3, "overlap": -45.0, "axis_range": 0.5, "experiment_type": "Characterization"},
            {"screen", "characterization"},
            set(),
        ),
        (
            {"number_of_images": 1, "overlap": 0.0, "axis_range": 0.0, "experiment_type": "Serial Fixed"},
            {"serial_fixed"},
            set(),
        ),
        (
            {"number_of_images": 90, "overlap": -1.0, "axis_range": 0.0, "experiment_type": "Serial Jet"},
            {"serial_jet"},
            set(),
        ),
        (
            {
                "number_of_images": 90,
                "overlap": 0.0,
                "axis_range": 0.5,
                "experiment_type": "Diamond Anvil High Pressure",
            },
            {"diamond_anvil_cell", "rotation"},
            set(),
        ),
        ({"number_of_images": None, "overlap": None, "axis_range": None}, set(), {"screen", "rotation"}),
        ({"number_of_images": 10, "overlap": None, "axis_range": 0.1}, set(), {"screen", "rotation"}),
    ],
)
def test_classification(facts, true, unknown):
    kind = classify(**({"has_grid": False, "experiment_type": "SAD"} | facts)).model_dump()
    assert {name for name, value in kind.items() if value} == true
    assert {name for name, value in kind.items() if value is None} == unknown


@pytest.mark.parametrize(
    ("model", "template", "expected"),
    [
        ("Eiger2 XE 16M", "lys_1.nxs", "eiger"),
        ("PILATUS3 6M", "lys_1_#####.cbf", "pilatus"),
        ("Pilatus 300K", None, "pilatus"),
        (None, "lys_1_master.h5", "eiger"),
        (None, "lys_1_#####.cbf", "pilatus"),
        ("Jungfrau", "lys_1.nxs", None),
        (None, None, None),
    ],
)
def test_detector_class_is_told_by_model_then_by_file_names(model, template, expected):
    assert detector_class(model, template) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Eiger2 XE 16M", "Eiger16M"),
        ("Eiger2 X 4M", "Eiger4M"),
        ("Eiger2 X CdTe 9M", "Eiger9MCdTe"),
        ("Pilatus3 6M", None),
        (None, None),
    ],
)
def test_detector_name(model, expected):
    assert detector_name(model) == expected


@pytest.mark.parametrize(
    ("template", "pattern", "first"),
    [
        ("lys_1_#####.cbf", "lys_1_%05d.cbf", "/d/lys_1_00007.cbf"),
        ("lys_1_master.h5", "lys_1_master.h5", "/d/lys_1_master.h5"),
        ("100%_####.cbf", "100%%_%04d.cbf", "/d/100%_0007.cbf"),
        ("x#2_####.cbf", "x#2_%04d.cbf", "/d/x#2_0007.cbf"),
    ],
)
def test_image_names_follow_the_template(template, pattern, first):
    assert image_pattern(template) == pattern
    assert image_file("/d/", template, 7) == first
    if "%0" in pattern:
        assert "/d/" + pattern % 7 == first


@pytest.mark.parametrize(
    ("directory", "session_visit", "visit", "visit_directory"),
    [
        ("/dls/i03/data/2024/mx12345-1/lys/x1/", "mx12345-1", "mx12345-1", "/dls/i03/data/2024/mx12345-1"),
        ("/dls/mx/data/nt37104/nt37104-12/plate/", None, "nt37104-12", "/dls/mx/data/nt37104/nt37104-12"),
        ("/dls/i03/data/2024/cm37235-2/mx12345-1/", "mx12345-1", "cm37235-2", "/dls/i03/data/2024/cm37235-2"),
        ("/tmp/plaza/beamline/mx12345-1/lys/x1/more/", "mx12345-1", "mx12345-1", "/tmp/plaza/beamline/mx12345-1"),
        ("/home/me/plaza/run/of/today/mx12345-1/x/", "mx12345-1", "mx12345-1", "/home/me/plaza/run/of/today/mx12345-1"),
        ("/mnt/i03/data/2024/mx12345-1/x/", "mx1-1", "mx12345-1", "/mnt/i03/data/2024/mx12345-1"),
        ("/a/b/c/d/e/f/", "mx12345-1", "e", "/a/b/c/d/e"),
        ("/data/lys/", "mx12345-1", "mx12345-1", "/data/lys"),
        ("/data/lys/", None, None, "/data/lys"),
    ],
)
def test_visit_is_found_in_the_path_or_named_by_the_session(directory, session_visit, visit, visit_directory):
    assert find_visit(directory, session_visit) == (visit, PurePosixPath(visit_directory))


def test_output_directories_mirror_the_path_below_the_visit():
    assert output_directories(
        "/dls/i03/data/2024/mx1-1/lys/x1/", PurePosixPath("/dls/i03/data/2024/mx1-1"), "x1_1", "g"
    ) == (
        "/dls/i03/data/2024/mx1-1/tmp/zocalo/lys/x1/x1_1/g",
        "/dls/i03/data/2024/mx1-1/processed/lys/x1/x1_1/g",
        "/dls/i03/data/2024/mx1-1/processed/pipeline-final/lys/x1/x1_1/g",
    )


@pytest.mark.parametrize(
    ("prefix", "number", "template", "expected"),
    [
        ("lys", 2, "lys_2_####.cbf", "lys_2"),
        (None, 2, "lys_2_####.cbf", "lys_2"),
        ("lys", None, "thing.nxs", "thing"),
    ],
)
def test_collection_is_named_as_its_files_are(prefix, number, template, expected):
    assert collection_name(prefix, number, template) == expected


@pytest.mark.parametrize(
    ("visit", "prefix", "number", "expected"),
    [
        ("mx12345-1", "lys-x_1", 3, ("mx12345v1", "xlysx13")),
        (None, None, None, ("AUTOMATIC", "DEFAULT")),
    ],
)
def test_xia2_names_are_plain(visit, prefix, number, expected):
    assert xia2_names(visit, prefix, number) == expected
