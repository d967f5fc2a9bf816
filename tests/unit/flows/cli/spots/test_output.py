"""What `plaza spots` prints."""

import json
import logging
import math
from dataclasses import replace

import pytest

from flows.cli.spots.output import make_output, summary
from flows.cli.spots.table import SpotTable
from tasks.diffraction.requests import ImageAnalysis, ImageStatistics
from tasks.logs.line import LogLine
from tasks.spots import FoundSpots, Image

STATISTICS = ImageStatistics(2.5, 2.2, 2.0, 30, 1090, 1100, 0.1, 0.2, 12345.0)
NO_SPOTS = ImageStatistics(-1.0, -1.0, -1.0, 0, 0, 0, -1.0, -1.0, 0.0)
IMAGES = [Image(f"/data/x/a_{number:04d}.cbf", number) for number in (1, 2)]


@pytest.fixture(autouse=True)
def kernel(monkeypatch):
    monkeypatch.setattr("flows.cli.spots.output.why_not_compiled", lambda: None)


def found(place, statistics=STATISTICS, **how):
    return FoundSpots(IMAGES[place], ImageAnalysis(statistics, **how))


def printed(capsys, results, *, is_json):
    with make_output(is_json=is_json) as output:
        output.on_begin([each.image for each in results])
        for each in results:
            output.on_image(each)
    return capsys.readouterr()


def test_columns_are_aligned_under_their_heads(capsys):
    out, err = printed(capsys, [found(0), found(1, NO_SPOTS)], is_json=False)
    folder, titles, names, *rows = out.splitlines()
    assert folder == "/data/x"
    assert titles.split() == ["spots", "resolution", "/", "Å", "noisiness", "intensity"]
    assert rows[0].split() == ["a_0001.cbf", "1,100", "1,090", "30", "2.00", "2.50", "2.20", "0.10", "0.20", "12,345"]
    assert rows[1].split() == ["a_0002.cbf", "0", "0", "0", "–", "–", "–", "–", "–", "0"]
    assert len({len(row) for row in rows}) == 1
    assert len(rows[0]) == len(names)
    assert err == ""


def test_a_json_line_has_the_file_its_number_and_the_nine_in_order(capsys):
    out, _ = printed(capsys, [found(0), FoundSpots(IMAGES[1], None, "it isn't there")], is_json=True)
    line, failure = map(json.loads, out.splitlines())
    assert list(line) == ["file", "file-number", *STATISTICS.as_payload()]
    assert line["file"] == "/data/x/a_0001.cbf"
    assert failure == {"file": "/data/x/a_0002.cbf", "file-number": 2, "error": "it isn't there"}


def test_what_is_no_number_of_jsons_is_null(capsys):
    no_numbers = replace(STATISTICS, total_intensity=math.nan, d_min_distl_method_1=math.inf)
    out, _ = printed(capsys, [found(0, no_numbers)], is_json=True)
    line = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (line["total_intensity"], line["d_min_distl_method_1"], line["n_spots_4A"]) == (None, None, 30)


def test_what_is_logged_is_said_as_the_rest_is_without_tracebacks(capsys):
    record = logging.makeLogRecord(
        {"name": "tasks.diffraction", "levelno": logging.ERROR, "levelname": "ERROR", "msg": "a request"}
    )
    of_dials = replace(LogLine.from_record(record), traceback="Traceback (most recent call last)")
    with make_output(is_json=True):
        logging.getLogger("tasks.spots").warning("the process died at %s\nwhere", "a.cbf")
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger("tasks.spots").exception("unforeseen")
        logging.getLogger("matplotlib.x").warning("mkdir -p failed")
        logging.getLogger("py.warnings").warning("x.py:1: DeprecationWarning: y")
        logging.getLogger("tasks.diffraction").handle(of_dials.to_record())
    assert capsys.readouterr().err == "plaza spots: the process died at a.cbf\nplaza spots: unforeseen\n"


@pytest.mark.parametrize("is_json", [False, True])
def test_an_image_that_failed_is_named_with_the_reason_on_standard_error(capsys, is_json):
    reason = "DIALS can't read it"
    _, err = printed(capsys, [FoundSpots(IMAGES[1], None, reason)], is_json=is_json)
    assert err == f"plaza spots: /data/x/a_0002.cbf: {reason}\n"


def test_a_table_without_rows_has_no_head(capsys):
    assert printed(capsys, [FoundSpots(IMAGES[1], None, "why")], is_json=False).out == ""


def test_long_names_are_cut_before_their_number_so_that_a_row_fits():
    image = Image(f"/data/{'x' * 100}_0007.cbf", 1)
    row = SpotTable([image], 80).row(image, STATISTICS)
    assert len(row) <= 80
    assert row.startswith("…")
    assert "_0007.cbf" in row
    assert "x" * 100 in SpotTable([image], None).row(image, STATISTICS), "whole in a pipe"


def test_names_that_would_move_the_cursor_are_shown_in_a_line():
    image = Image("a\x1b[2J\n.cbf", 1)
    row = SpotTable([image], None).row(image, STATISTICS)
    assert row.isprintable()


def test_the_summary_says_how_fast_and_what_dials_did_and_why():
    results = [found(0), found(1, by_dials="gain"), found(1, by_dials="gain"), FoundSpots(IMAGES[1], None, "why")]
    assert summary(results, 3.0, 1.0, 2) == (
        "3 images in 3.0 s, 1.0 s of which to start; 1.5 images/s by 2 processes; 1 failed; 2 by DIALS: gain (2)"
    )
    assert "; 1 corrected after a check by DIALS" in summary([found(0, corrected=NO_SPOTS)], 1.0, 0.5, 1)


def test_the_summary_of_nothing_says_no_rate():
    assert (
        summary([FoundSpots(IMAGES[0], None, "why")], 2.0, 2.0, 1)
        == "0 images in 2.0 s, 2.0 s of which to start; 1 failed"
    )


def test_the_summary_says_when_the_kernel_is_not_compiled(monkeypatch):
    monkeypatch.setattr("flows.cli.spots.output.why_not_compiled", lambda: "no compiler")
    assert summary([found(0)], 2.0, 1.0, 1).endswith("slower than need be without the kernel: no compiler")
    assert "kernel" not in summary([found(0, by_dials="gain")], 2.0, 1.0, 1)
