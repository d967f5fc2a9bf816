import pytest

from blocks.errors import MessageRefused
from tasks.diffraction.requests import AnalysisParameters, ImageRequest, ImageStatistics
from tasks.per_image_analysis import make_result, read_request

DEFAULT = AnalysisParameters()


EXTENDED = {"threshold_algorithm": "dispersion_extended"}


@pytest.mark.parametrize(
    ("own", "recipe", "scan_range", "changed"),
    [
        ({}, {}, None, {}),
        ({"scan_range": "7,7"}, {}, (7, 7), {}),
        ({"scan_range": [7, 9]}, {"scan_range": "1,1"}, (7, 9), {}),
        ({}, {"scan_range": "1, 5", "d_min": "4"}, (1, 5), {"d_min": 4.0}),
        ({"d_min": 3}, {"d_min": "4", "filter_ice": "False"}, None, {"d_min": 3.0, "filter_ice": False}),
        (None, {"d_min": "None", "scan_range": ""}, None, {}),
        ({}, EXTENDED, None, EXTENDED),
    ],
)
def test_message_goes_before_recipe(own, recipe, scan_range, changed):
    request = read_request({"file": "a", "parameters": own}, AnalysisParameters.model_validate(recipe))
    assert request == ImageRequest("a", DEFAULT.options.model_copy(update=changed), scan_range)


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (None, "needs the path of an image as `file`"),
        ({}, "needs the path of an image as `file`"),
        ({"file": "None"}, "needs the path of an image as `file`"),
        ({"file": 3}, "needs the path of an image as `file`"),
        ({"file": "a.cbf", "parameters": "x"}, "must be an object"),
        ({"file": "a.cbf", "parameters": {"scan_range": "x"}}, "scan_range"),
        *(
            ({"file": "a.nxs", "parameters": {"scan_range": scan_range}}, "from 1 to 10,000,000")
            for scan_range in ("0,0", "-1,3", [3, 2], "1,99999999999999999999", [0, 1], "2,10000001")
        ),
        ({"file": "a.nxs", "parameters": {"scan_range": "1"}}, "scan_range"),
        ({"file": "a.nxs", "parameters": {"scan_range": "1,2,3"}}, "scan_range"),
        ({"file": "a.nxs", "parameters": {"scan_range": [1.5, 2]}}, "scan_range"),
        ({"file": "a.nxs", "parameters": {"scan_range": {}}}, "scan_range"),
        ({"file": "a.cbf", "parameters": {"threshold_algorithm": "magic"}}, "threshold_algorithm"),
    ],
)
def test_message_that_asks_for_nothing_sensible_is_refused(payload, complaint):
    with pytest.raises(MessageRefused, match=complaint):
        read_request(payload, DEFAULT)


def test_result_has_the_statistics_and_what_the_message_says_of_the_file():
    statistics = ImageStatistics(2.1, 2.2, 2.3, 4, 5, 6, 0.1, 0.2, 700.0)
    payload = {"file": "a", "file-number": 3, "file-seen-at": 1.5, "filewatcher": "x", "hdf5": "h", "parameters": {}}
    assert make_result(payload, statistics) == {
        "d_min_distl_method_1": 2.1,
        "d_min_distl_method_2": 2.2,
        "estimated_d_min": 2.3,
        "n_spots_4A": 4,
        "n_spots_no_ice": 5,
        "n_spots_total": 6,
        "noisiness_method_1": 0.1,
        "noisiness_method_2": 0.2,
        "total_intensity": 700.0,
        "file": "a",
        "file-number": 3,
        "file-seen-at": 1.5,
        "filewatcher": "x",
    }


def test_options_of_all_images_of_a_data_set_are_one():
    requests = [read_request({"file": "a.nxs", "parameters": {"scan_range": f"{n},{n}"}}, DEFAULT) for n in (1, 2)]
    assert len({request.options for request in requests}) == 1


@pytest.mark.parametrize("name", ["d_min", "d_max", "ice_rings_width"])
@pytest.mark.parametrize("value", ["inf", "nan", float("inf")])
def test_an_option_that_is_not_finite_is_refused(name, value):
    with pytest.raises(ValueError, match="finite number"):
        AnalysisParameters.model_validate({name: value})
