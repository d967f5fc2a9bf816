"""Whatever a recipe file holds, it's a recipe or it's refused with a reason: nothing else ever happens."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.errors import RecipeError
from flows.recipe.catalogue import recipe_files
from flows.recipe.language.merging import merge
from flows.recipe.language.recipe import parse_recipe, recipe_from_document
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.language.validation import read_recipe, validate

SHIPPED = [path.read_text(encoding="utf-8") for path in recipe_files().values()]
TEXTS = st.sampled_from(
    ["", "start", "error", "1", "01", "0", "{a}", "{a[b][0]}", "{a:{a}}", "{$REPLACE:a[b]}", "{", "{{", "{}", "\ud800"]
) | st.text(max_size=5)
SOUP = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.integers() | st.floats() | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["1", "2", "3", "-1", "01", "start", "error"]) | TEXTS
NODES = st.dictionaries(st.sampled_from(["output", "error", "parameters", "{a}", "queue"]), SOUP, max_size=4)
STARTS = st.lists(st.tuples(st.integers(1, 3), SOUP).map(list), min_size=1, max_size=3)
NEARLY = st.builds(
    lambda nodes, start: {**nodes, "start": start}, st.dictionaries(KEYS, NODES | SOUP, max_size=4), STARTS | SOUP
)
PARAMETERS = st.dictionaries(st.sampled_from("ab"), SOUP, max_size=2)
SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def accepted(work, *arguments):
    """Return what a call returns, or None if it's refused with a reason that can be shown."""
    try:
        return work(*arguments) or True
    except RecipeError as error:
        str(error).encode()
        return None


def put_through(text, parameters):
    """Do with a text all that is done with recipes; return how far it came."""
    if not (recipe := accepted(parse_recipe, text)):
        return "nothing"
    assert recipe == text
    assert parse_recipe(recipe.to_json()) == recipe
    if not accepted(validate, recipe):
        return "parsed"
    assert len(merge(recipe, text).nodes) == 2 * len(recipe.nodes)
    if not (filled := accepted(fill_recipe, recipe, parameters)):
        return "sound"
    validate(filled)
    written = accepted(filled.to_json)  # parameters may hold what is no JSON
    return "written" if written and accepted(parse_recipe, written) == filled else "filled"


@given(st.binary(max_size=60), st.sampled_from(SHIPPED), st.integers(0, 500), st.integers(0, 30))
@settings(max_examples=150)
def test_any_bytes_in_a_file_are_a_recipe_or_refused(tmp_path_factory, some, shipped, place, length):
    file = tmp_path_factory.getbasetemp() / "fuzz.json"
    whole = shipped.encode()
    for content in (some, whole[:place] + some + whole[place + length :]):
        file.write_bytes(content)
        recipe = accepted(read_recipe, file)
        assert recipe is None or recipe == content.decode()


@given(SOUP | NEARLY, PARAMETERS)
@settings(max_examples=300, **SLOW)
def test_any_json_is_a_recipe_or_refused(document, parameters):
    put_through(json.dumps(document), parameters)
    if recipe := accepted(recipe_from_document, document):
        accepted(validate, recipe)


def places(value, path=()):
    """Yield the way to every value of a document."""
    yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*path, key))


def put(value, path, new):
    """Return a document with one value replaced."""
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


@given(st.data(), st.sampled_from(SHIPPED), PARAMETERS)
@settings(max_examples=200, **SLOW)
def test_a_shipped_recipe_with_anything_in_any_place_is_a_recipe_or_refused(data, shipped, parameters):
    document = json.loads(shipped)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(document))))
        document = put(document, path, data.draw(SOUP | st.sampled_from([1, 2, 3, [1], {"x": 2}])))
    put_through(json.dumps(document), parameters)


@given(
    st.sampled_from(SHIPPED),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 3), st.text('{}[]",:0127 \\u"', max_size=3))),
)
@settings(max_examples=200, **SLOW)
def test_a_shipped_recipe_with_slips_of_the_pen_is_a_recipe_or_refused(shipped, slips):
    for place, length, new in slips:
        shipped = shipped[:place] + new + shipped[place + length :]
    put_through(shipped, {"a": 1, "ispyb_visit": "mx1-1"})


@pytest.mark.slow
@given(SOUP | NEARLY, st.sampled_from(SHIPPED), st.data(), PARAMETERS)
@settings(max_examples=10_000, **SLOW)
def test_a_long_run_finds_no_other_end(document, shipped, data, parameters):
    put_through(json.dumps(document), parameters)
    whole = json.loads(shipped)
    path = data.draw(st.sampled_from(list(places(whole))))
    put_through(json.dumps(put(whole, path, document)), parameters)


def test_the_fuzz_comes_through_to_the_end_as_well():
    assert put_through(SHIPPED[0], {"a": 1}) == "written"
    assert put_through('{"1": {"p": "{a[0]}"}, "start": [[1, 0]]}', {"a": 1}) == "sound"
    assert put_through('{"1": {"output": 1}, "start": [[1, 0]]}', {}) == "parsed"
    assert put_through("{}", {}) == "nothing"
