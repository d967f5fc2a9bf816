"""A parameter that was handed over for nothing is warned of, in one line."""

import pytest

from flows.recipe import parameters
from flows.recipe.language.placeholders import names_in
from flows.recipe.language.recipe import recipe_from_document
from flows.recipe.parameters import warn_of_unused

RECIPE = recipe_from_document(
    {
        "1": {
            "queue": "{queue}",
            "parameters": {
                "{key}": "{ispyb_dc_info[imageDirectory]}{ispyb_image_pattern}",
                "list": ["{$REPLACE:files[0]}", "{number:0{width}d}", "${threads}", "{{literal}}", 5],
            },
            "output": {"every": 2},
        },
        "2": {"queue": "images", "parameters": {"space_group": "{space_group!r}"}},
        "start": [[1, {"began": "{when}"}]],
    }
)
NAMES = {
    *("queue", "key", "ispyb_dc_info", "ispyb_image_pattern", "files", "number", "width", "threads", "space_group"),
    "when",
}


def warnings(caplog, **handed_over):
    caplog.clear()
    warn_of_unused(RECIPE, handed_over)
    return [record.getMessage() for record in caplog.records]


def test_names_stand_in_keys_values_formats_and_start_payloads():
    assert set(names_in([*RECIPE.nodes.values(), [payload for _, payload in RECIPE.start]])) == NAMES


@pytest.mark.parametrize("text", ["{", "}", "{a", "", "a { b", "{a!x}"])
def test_malformed_texts_name_nothing_that_is_used(text):
    assert set(names_in(text)) <= {"a"}


def test_parameters_with_a_placeholder_are_not_warned_of(caplog):
    assert warnings(caplog, **dict.fromkeys(NAMES, 1)) == []


def test_parameters_that_plaza_uses_are_not_warned_of(caplog):
    assert warnings(caplog, ispyb_dcid=1, ispyb_process=2, guid="x", ispyb_visit="mx1-1", ispyb_beamline="i03") == []


def test_what_ispyb_says_may_be_handed_over_as_a_whole(caplog):
    assert warnings(caplog, ispyb_dc_info={}, ispyb_space_group="P1", ispyb_related_sweeps=[]) == []
    assert len(warnings(caplog, ispyb_space_group="P1")) == 1


def test_one_line_names_all_of_them_and_what_may_have_been_meant(caplog):
    assert warnings(caplog, spacegroup="P1", nproc=4, when=0) == [
        "without effect, since the recipe has no placeholder for them: the parameters "
        "'spacegroup' ('space_group'?), 'nproc'"
    ]
    assert caplog.records[0].levelname == "WARNING"


def test_of_very_many_the_first_are_named_and_the_others_counted(caplog, monkeypatch):
    looked_for = []
    monkeypatch.setattr(parameters.difflib, "get_close_matches", lambda name, *_, **__: looked_for.append(name) or [])
    (line,) = warnings(caplog, **{f"p{number}": 1 for number in range(20_000)})
    assert line.endswith("'p8', 'p9' and 19,990 more")
    assert len(looked_for) == 10
    (line,) = warnings(caplog, **{f"p{number}": 1 for number in range(10)})
    assert line.endswith("'p8', 'p9'")


def test_an_odd_name_stays_in_its_line(caplog):
    (line,) = warnings(caplog, **{"a\nb" + "x" * 500: 1})
    assert "\n" not in line
    assert len(line) < 200
