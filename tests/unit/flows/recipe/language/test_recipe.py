"""The recipe language: reading and writing, and what equals what."""

import json

import pytest
from hypothesis import given

from blocks.errors import RecipeError
from flows.recipe.catalogue import recipe_files
from flows.recipe.language.recipe import Recipe, parse_recipe, recipe_from_document
from flows.recipe.language.validation import read_recipe, validate
from tests.support.recipe_strategies import recipe_documents


def recipe(**document):
    return parse_recipe(json.dumps({key.lstrip("n"): value for key, value in document.items()}))


def test_numeric_keys_become_integers_and_a_single_output_a_list():
    parsed = recipe(n01={"output": 2}, n2={}, start=[[1, "payload"]])
    assert parsed.nodes == {1: {"output": [2]}, 2: {}}
    assert parsed.start == ((1, "payload"),)


def test_what_zocalo_takes_is_taken():
    parsed = recipe(
        **{"n-1": {"service": "label only", "queue": "q", "topic": "t", "gridinfo": {"steps_x": 2}, "comment": "any"}},
        start=[[-1, None], [-1, {"any": ["JSON"]}]],
        error=-1,
    )
    validate(parsed)
    assert parsed.nodes[-1]["comment"] == "any"
    assert parsed.start == ((-1, None), (-1, {"any": ["JSON"]}))
    assert parsed.error == (-1,)


def test_a_single_error_link_stays_as_it_is():
    assert recipe(n1={"error": 2}, n2={}, start=[[1, []]]).nodes[1] == {"error": 2}


def test_of_a_key_that_stands_twice_the_last_counts():
    parsed = parse_recipe('{"1": ["a comment"], "1": {"queue": "images"}, "start": [[1, []]]}')
    assert parsed.nodes[1] == {"queue": "images"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("{}", "No recipe defined"),
        ("null", "No recipe defined"),
        ("[1]", "JSON object"),
        pytest.param("[" * 100_000, "not JSON", id="too deep"),
        ('\ufeff{"1": {}, "start": [[1, 1]]}', "BOM"),
    ],
)
def test_what_is_no_recipe_is_refused(text, complaint):
    with pytest.raises(RecipeError, match=complaint.replace("[", r"\[")):
        parse_recipe(text)


def test_a_recipe_file_that_is_wrong_is_named(tmp_path):
    file = tmp_path / "broken.json"
    file.write_text('{"1": {"output": 1}, "start": [[1, []]]}')
    with pytest.raises(RecipeError, match=r"broken\.json: node 1: cycle: 1 -> 1"):
        read_recipe(file)
    with pytest.raises(RecipeError, match=r"absent\.json: can't be read"):
        read_recipe(tmp_path / "absent.json")


@pytest.mark.parametrize("name", recipe_files())
def test_every_shipped_recipe_obeys_the_rules_and_names_steps_that_exist(name):
    from tasks.step.registry import load_step, queue_of

    parsed = read_recipe(recipe_files()[name])
    for number, node in parsed.nodes.items():
        load_step(queue_of(number, node))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "can't be read: 'utf-8' codec"),
        (b'\xef\xbb\xbf{"1": {}, "start": [[1, 1]]}', "BOM"),
        (b'{"1": {"p": NaN}, "start": [[1, 1]]}', "node 1: nan is no JSON number"),
        (b'{"1": {"p": 1e999}, "start": [[1, 1]]}', "node 1: inf is no JSON number"),
        (b'{"1": {"p": "\\ud800"}, "start": [[1, 1]]}', "node 1: text .* surrogate"),
        (b'{"1": {"p": ' + b"9" * 5000 + b'}, "start": [[1, 1]]}', "not JSON: Exceeds the limit"),
        (b'{"1": {}, "start": [[1, 1]]} {}', "not JSON: Extra data"),
    ],
)
def test_a_file_that_holds_no_recipe_is_refused(tmp_path, content, complaint):
    file = tmp_path / "recipe.json"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=rf"recipe\.json: .*{complaint}"):
        read_recipe(file)


def test_what_is_no_file_is_refused(tmp_path):
    for path, complaint in [
        (tmp_path, "is a folder"),
        (tmp_path / "\0", "null"),
        (tmp_path / ("n" * 300), "too long"),
    ]:
        with pytest.raises(RecipeError, match=complaint):
            read_recipe(path)


DOCUMENT = {"1": {"output": 2, "p": [1, {"x": None}]}, "02": {}, "start": [[1, "a"], [1, ["b"]]], "error": [2]}


@pytest.mark.parametrize(
    "other",
    [
        DOCUMENT,
        recipe_from_document(DOCUMENT),
        json.dumps(DOCUMENT),
        json.dumps(DOCUMENT, indent=4),
        {1: {"output": [2], "p": [1, {"x": None}]}, 2: {}, "start": [(1, "a"), (1, ["b"])], "error": 2},
        {"error": (2,), "start": ((1, "a"), (1, ("b",))), "2": {}, "1": {"p": (1, {"x": None}), "output": (2,)}},
    ],
)
def test_a_recipe_equals_itself_its_document_and_its_text_in_any_form(other):
    recipe = recipe_from_document(DOCUMENT)
    assert recipe == other
    assert other == recipe
    assert not recipe != other  # noqa: SIM202


@pytest.mark.parametrize(
    "other",
    [
        None, 5, "", "junk", "{}", {}, [], {"start": []}, object(),
        {**DOCUMENT, "1": {"output": 2}}, {**DOCUMENT, "3": {}}, {**DOCUMENT, "error": []},
        {**DOCUMENT, "start": [[1, "a"]]}, {**DOCUMENT, "start": [[1, ["b"]], [1, "a"]]},
        Recipe({1: {"p": object()}}, ((1, 0),)),
    ],
)  # fmt: skip
def test_a_recipe_equals_nothing_else(other):
    recipe = recipe_from_document(DOCUMENT)
    assert recipe != other
    assert other != recipe


def test_a_recipe_has_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(recipe_from_document(DOCUMENT))


def test_in_asks_for_nodes_start_and_error():
    recipe = recipe_from_document(DOCUMENT)
    assert [key for key in (1, 2, 3, 0, "1", "start", "error", "x", None, True, 1.0, [], {}) if key in recipe] == [
        1, 2, "start", "error",
    ]  # fmt: skip
    assert "error" not in recipe_from_document({"1": {}, "start": [[1, 1]]})


@given(recipe_documents())
def test_what_is_written_is_read_again_as_the_same_recipe(document):
    recipe = recipe_from_document(document)
    for text in (recipe.to_json(), recipe.to_json(indent=2), json.dumps(recipe.to_document()), json.dumps(document)):
        again = parse_recipe(text)
        assert again == recipe
        assert (again == text, recipe == text, recipe == document) == (True, True, True)
    assert recipe_from_document(recipe.to_document()) == recipe


def test_a_written_document_shares_nothing_with_the_recipe():
    recipe = recipe_from_document(DOCUMENT)
    recipe.to_document()["1"]["p"].append(1)
    assert recipe == DOCUMENT


@pytest.mark.parametrize("value", [object(), float("nan"), {(1, 2): 3}, {1, 2}])
def test_what_is_no_json_can_not_be_written(value):
    with pytest.raises(RecipeError, match="can't be written as JSON"):
        Recipe({1: {"p": value}}, ((1, 0),)).to_json()
