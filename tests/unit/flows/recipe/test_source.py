"""The recipe of a run of several: read and merged in order, with the digest of what runs."""

import json
from hashlib import sha256

import pytest

from blocks.errors import RecipeError
from blocks.settings import get_settings
from flows.recipe.source import RecipeSource, custom_recipe_file, keep_custom_recipe, merged_source


def recipe(name):
    return {"1": {"queue": "images", "parameters": {"name": name}}, "start": [[1, name]]}


@pytest.fixture
def recipes(home, monkeypatch):
    folder = home / "recipes"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.json").write_text(json.dumps(recipe(name)))
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(folder))
    get_settings.cache_clear()
    return folder


def test_one_recipe_has_its_files_digest(recipes):
    file = recipes / "a.json"
    assert RecipeSource((("a", file),)).read().digest == sha256(file.read_bytes()).hexdigest()


def test_custom_recipe_comes_first_and_keeps_its_numbers(recipes):
    custom = {"7": {"queue": "images", "parameters": {"name": "c"}}, "start": [[7, "c"]]}
    source = merged_source(["b", "a"], keep_custom_recipe(custom))
    assert source.name == "custom recipe + b + a"
    merged = source.read().recipe
    assert {number: node["parameters"]["name"] for number, node in merged.nodes.items()} == {7: "c", 8: "b", 9: "a"}
    assert merged.start == ((7, "c"), (8, "b"), (9, "a"))
    assert source.as_request() == {"recipes": ["b", "a"], "custom_recipe": custom}


def test_digest_of_several_is_of_what_they_make(recipes):
    digests = [merged_source(names, None).read().digest for names in (["a", "b"], ["a", "b"], ["b", "a"])]
    assert digests[0] == digests[1] != digests[2]
    (recipes / "b.json").write_text(json.dumps(recipe("other")))
    assert merged_source(["a", "b"], None).read().digest != digests[0]


def test_custom_recipe_by_itself_is_named_so(recipes):
    name = keep_custom_recipe(recipe("c"))
    source = merged_source([], name)
    assert (source.name, source.read().digest, source.files) == ("custom recipe", name, (custom_recipe_file(name),))


def test_same_recipe_twice_runs_twice(recipes):
    assert len(merged_source(["a", "a"], None).read().recipe.nodes) == 2


@pytest.mark.parametrize("names", [["../a"], ["a\0"], ["merged-recipe"], [""], [".a"], ["unheard-of"]])
def test_what_is_no_recipe_is_told(recipes, names):
    with pytest.raises(RecipeError):
        merged_source(names, None).read()


@pytest.mark.parametrize("name", ["", "../x", "a" * 63, "A" * 64, "a" * 64])
def test_what_is_no_custom_recipe_is_told(recipes, name):
    with pytest.raises(RecipeError):
        merged_source([], name).read()


def test_nothing_is_no_recipe(recipes):
    with pytest.raises(RecipeError, match="no recipe is named"):
        merged_source([], None)
