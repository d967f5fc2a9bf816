"""A run is found by its id or the start of it; what is no id is no pattern and no path."""

import pytest

from blocks.errors import UnknownRecipeRun
from flows.recipe.run_record.folder import find_run


@pytest.fixture
def home(tmp_path):
    for name in ("abc-1", "abd-2"):
        (tmp_path / "recipe-runs" / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(("name", "run"), [("abc-1", "abc-1"), ("abc", "abc-1"), ("abd-2", "abd-2")])
def test_id_or_its_start_is_enough(home, name, run):
    assert find_run(name, home).recipe_run == run


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "ab",
        "*",
        "**",
        "**x",
        "[",
        "a[",
        "?",
        "/nonexist",
        "/",
        ".",
        "..",
        "../recipe-runs/abc-1",
        "a\0",
        "\udcff",
    ]
    + [letter * count for letter in "aä" for count in (300, 5000)],
)
def test_anything_else_is_told_to_be_none_in_a_line(home, name):
    with pytest.raises(UnknownRecipeRun) as refusal:
        find_run(name, home)
    assert len(str(refusal.value)) < 600
