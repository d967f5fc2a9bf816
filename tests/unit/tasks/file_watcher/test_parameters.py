"""What a watcher's parameters name, and which are refused."""

import pytest
from pydantic import ValidationError

from blocks.errors import MessageRefused
from tasks.file_watcher.hdf5_images import Hdf5Images
from tasks.file_watcher.parameters import WatchParameters, open_source
from tasks.file_watcher.sources import ListedFiles, NumberedFiles


def open_with(**parameters):
    return open_source(
        WatchParameters.model_validate({key.replace("_", "-"): value for key, value in parameters.items()})
    )


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        ({"pattern": "i%d", "pattern_start": 1, "pattern_end": 2, "list": ["a"], "hdf5": "m"}, NumberedFiles),
        ({"pattern": "", "list": ["a"], "hdf5": "m"}, ListedFiles),
        ({"pattern": None, "list": [], "hdf5": "m"}, ListedFiles),
        ({"list": None, "hdf5": "m"}, Hdf5Images),
        ({"hdf5": "m", "pattern_start": "{ispyb_image_first}"}, Hdf5Images),
    ],
)
def test_the_pattern_goes_before_the_list_and_the_list_before_the_master(parameters, kind):
    assert isinstance(open_with(**parameters), kind)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/data/x_%05d.cbf", "/data/x_00003.cbf"),
        ("/data/100%%/x_%i.cbf", "/data/100%/x_3.cbf"),
        ("x%3u", "x  3"),
        ("x%.4d", "x0003"),
        ("100% x%d", "100% x3"),
        ("{visit}/x%d", "{visit}/x3"),
    ],
)
def test_a_pattern_has_one_integer_field(pattern, path):
    assert open_with(pattern=pattern, pattern_start="3", pattern_end="0007").item(1)["file"] == path


@pytest.mark.parametrize(
    "pattern",
    [
        "x.cbf",
        "x_%d_%d",
        "None",
        "x_%s",
        "x_%f",
        "x_%(n)d",
        "x_%*d",
        "x_%",
        "x_%9999999d",
        "x_####",
        7,
        ["x%d"],
    ],
)
def test_another_pattern_is_refused(pattern):
    with pytest.raises(MessageRefused, match="pattern should be a path with exactly one integer field"):
        open_with(pattern=pattern, pattern_start=1, pattern_end=2)


@pytest.mark.parametrize("value", [None, "None", "", "{ispyb_image_first}", "1.5", 1.5, [1], float("inf")])
@pytest.mark.parametrize("name", ["pattern_start", "pattern_end"])
def test_a_missing_or_odd_start_or_end_is_refused(name, value):
    with pytest.raises(MessageRefused, match=f"{name.replace('_', '-')} should be a whole number"):
        open_with(**{"pattern": "x%d", "pattern_start": 1, "pattern_end": 2} | {name: value})


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, "needs one of the parameters pattern, list or hdf5"),
        ({"pattern": None, "list": None, "hdf5": None}, "needs one of the parameters pattern, list or hdf5"),
        ({"list": "/a/b"}, "list should be a list of paths, seen '/a/b'"),
        ({"list": [3]}, "list should be a list of paths"),
        ({"hdf5": ""}, "hdf5 should be a path"),
        ({"hdf5": "None"}, "hdf5 should be a path, seen 'None'"),
        ({"hdf5": ["a"]}, "hdf5 should be a path"),
    ],
)
def test_other_bad_sources_are_refused(parameters, reason):
    with pytest.raises(MessageRefused, match=reason):
        open_with(**parameters)


def test_numbers_may_be_strings():
    parameters = WatchParameters.model_validate(
        {"burst-limit": "40", "burst-wait": "2", "timeout": "10", "timeout-first": "60", "log-timeout-as-info": "true"}
    )
    assert (parameters.burst_limit, parameters.burst_wait, parameters.timeout) == (40, 2, 10)
    assert (parameters.patience_first, parameters.log_timeout_as_info) == (60, True)


def test_defaults_are_zocalos():
    parameters = WatchParameters.model_validate({"timeout": None})
    assert (parameters.burst_limit, parameters.burst_wait, parameters.timeout) == (100, 0, 3600)
    assert (parameters.patience_first, parameters.log_timeout_as_info) == (3600, False)


@pytest.mark.parametrize(
    "fault", [{"burst-limit": 0}, {"timeout": -1}, {"timeout": "{t}"}, {"timeout": "nan"}, {"burst-wait": "inf"}]
)
def test_numbers_that_make_no_sense_are_refused(fault):
    with pytest.raises(ValidationError):
        WatchParameters.model_validate(fault)


@pytest.mark.parametrize("name", ["timeout", "timeout-first", "burst-wait"])
@pytest.mark.parametrize("seconds", [1e20, 8 * 86400, float("inf"), -1])
def test_nobody_waits_for_longer_than_a_week(name, seconds):
    with pytest.raises(ValidationError, match="Input should be"):
        WatchParameters.model_validate({name: seconds})
