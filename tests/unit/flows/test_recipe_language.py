"""The recipe language: reading, its rules, filling in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import RecipeError
from flows.recipe.catalogue import recipe_files
from flows.recipe.language import parse_recipe, read_recipe
from flows.recipe.substitution import fill, fill_recipe
from flows.recipe.validation import validate


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
        ('{"1": {}}', "'start' is missing"),
        ('{"1": {}, "start": []}', "'start' is missing or empty"),
        ('{"1": {}, "start": [[1]]}', "pair"),
        ('{"1": {}, "start": [["start", 1]]}', "pair"),
        ('{"1": {}, "start": [[true, 1]]}', "pair"),
        ('{"1": {}, "start": {"1": []}}', "'start' is missing"),
        pytest.param("[" * 100_000, "not JSON", id="too deep"),
        ('\ufeff{"1": {}, "start": [[1, 1]]}', "BOM"),
        ('{"1": {}, "start": [[1, 1]], "error": {"a": 1}}', "'error'"),
        ('{"1": {}, "start": [[1, 1]], "error": ["error"]}', "'error'"),
        ('{"x": {}, "start": [[1, 1]]}', "'x' is not numeric"),
        ('{"0": {}, "start": [[0, 1]]}', "'0' is not numeric"),
        ('{"1": [], "start": [[1, 1]]}', "node 1: expected a JSON object"),
        ('{"1": {}, "start": [[1, 1]], "error": ["start"]}', "'error'"),
    ],
)
def test_what_is_no_recipe_is_refused(text, complaint):
    with pytest.raises(RecipeError, match=complaint.replace("[", r"\[")):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"n1": {"output": "2"}, "n2": {}}, r"node 1: Invalid link '2' in output"),
        ({"n1": {"output": [1.5]}}, "Invalid link 1.5"),
        ({"n1": {"output": [[2]]}, "n2": {}}, "Invalid link"),
        ({"n1": {"output": {"a": {"b": 2}}}, "n2": {}}, r"Invalid link \{'b': 2\} in output\.a: names don't nest"),
        ({"n1": {"output": {"every": 7}}}, r"node 1: output\.every leads to node 7, which doesn't exist"),
        ({"n1": {"output": True}}, "Invalid link True"),
        ({"n1": {"error": "2"}, "n2": {}}, "node 1: Invalid link '2' in error"),
        ({"n1": {"output": ["start"]}}, "Invalid link 'start'"),
        ({"n1": {"error": {"a": 7}}}, r"node 1: error\.a leads to node 7"),
        ({"n1": {}, "error": [7]}, "'error' leads to node 7"),
        ({"n1": {}, "n2": {"output": 3}, "n3": {"output": 2}, "error": [2]}, "cycle: 2 -> 3 -> 2"),
        ({"n1": {"output": 1}}, "cycle: 1 -> 1"),
        ({"n1": {"output": 2}, "n2": {"error": [3]}, "n3": {"output": 1}}, "cycle: 1 -> 2 -> 3 -> 1"),
        ({"n1": {}, "n2": {}}, "node 2 can't be reached"),
    ],
)
def test_a_recipe_that_breaks_a_rule_is_refused_with_node_and_path(document, complaint):
    with pytest.raises(RecipeError, match=complaint):
        validate(recipe(**document, start=[[1, []]]))


def test_diamonds_null_links_and_error_links_are_sound():
    validate(
        recipe(
            n1={"output": {"a": [2, 3], "b": None}},
            n2={"output": 4},
            n3={"output": [4, None]},
            n4={"error": 5},
            n5={},
            start=[[1, []], [1, []]],
        )
    )


def test_a_recipe_file_that_is_wrong_is_named(tmp_path):
    file = tmp_path / "broken.json"
    file.write_text('{"1": {"output": 1}, "start": [[1, []]]}')
    with pytest.raises(RecipeError, match=r"broken\.json: node 1: cycle: 1 -> 1"):
        read_recipe(file)
    with pytest.raises(RecipeError, match=r"absent\.json: can't be read"):
        read_recipe(tmp_path / "absent.json")


@pytest.mark.parametrize("name", recipe_files())
def test_every_shipped_recipe_obeys_the_rules_and_names_steps_that_exist(name):
    from tasks.registry import load_step, queue_of

    parsed = read_recipe(recipe_files()[name])
    for number, node in parsed.nodes.items():
        load_step(queue_of(number, node))


PARAMETERS = {"name": "lyso", "number": 7, "nothing": None, "list": [1, 2], "info": {"dir": "/d/", "deep": [{"x": 1}]}}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{name}_{number:04d}.cbf", "lyso_0007.cbf"),
        ("{name!r}", "'lyso'"),
        ("{nothing} {list}", "None [1, 2]"),
        ("{info[dir]}x", "/d/x"),
        ("{info[deep][0][x]}", "1"),
        ("{list[1]}", "2"),
        ("{unknown}", "{unknown}"),
        ("{unknown!r}", "{unknown!r}"),
        ("{unknown[a.b][-1]}", "{unknown[a.b][-1]}"),
        ("{number:>{number}}", "      7"),
        ("a {unknown[key][0]} b", "a {unknown[key][0]} b"),
        ("{{literal}}", "{literal}"),
        ("no braces", "no braces"),
        ("{$REPLACE:list}", [1, 2]),
        ("{$REPLACE:info[deep][0]}", {"x": 1}),
        ("{$REPLACE:unknown}", None),
        ("{$REPLACE:info[absent][further]}", None),
    ],
)
def test_placeholders_are_filled(text, filled):
    assert fill(text, PARAMETERS) == filled


@pytest.mark.parametrize(
    "text",
    [
        "{info[absent]}", "{list[9]}", "{number[key]}", "{unknown:04d}", "{unknown.attribute}", "{}", "{0}", "{", "}",
        "x {$REPLACE:list}", "{$REPLACE:list[9]}", "{name:04d}", "{unknown[key].attribute}", "{0[key]}", "{$REPLACE:}",
        "{$REPLACE:number[key]}", "{$REPLACE:info.dir}", "{nothing:04d}", "{name!x}",
    ],
)  # fmt: skip
def test_what_can_not_be_filled_is_refused(text):
    with pytest.raises(RecipeError):
        fill(text, PARAMETERS)


def test_keys_nested_values_and_start_payloads_are_filled_and_the_recipe_stays_as_it_was():
    original = recipe(n1={"{name}": {"list": ["{number}", 5, None]}}, start=[[1, {"dc": "{number}"}]])
    filled = fill_recipe(original, PARAMETERS)
    assert filled.nodes[1] == {"lyso": {"list": ["7", 5, None]}}
    assert filled.start == ((1, {"dc": "7"}),)
    assert original.start == ((1, {"dc": "{number}"}),)


def test_a_key_can_not_become_a_structure():
    with pytest.raises(RecipeError, match=r"key '\{\$REPLACE:list\}': expected text"):
        fill({"{$REPLACE:list}": 1}, PARAMETERS)


def test_a_replaced_structure_is_a_copy():
    copied = fill("{$REPLACE:info}", PARAMETERS)
    copied["deep"].append(1)
    assert PARAMETERS["info"]["deep"] == [{"x": 1}]


def test_a_placeholder_that_fails_names_its_node():
    with pytest.raises(RecipeError, match="node 3"):
        fill_recipe(recipe(n3={"queue": "{info[absent]}"}, start=[[3, []]]), PARAMETERS)


@given(st.text(alphabet=st.characters(exclude_characters="{}")))
def test_text_without_braces_is_never_changed(text):
    assert fill(text, PARAMETERS) == text


@given(st.text(), st.text())
def test_doubled_braces_come_out_single_and_nothing_else_changes(before, after):
    double = (before + "{x}" + after).replace("{", "{{").replace("}", "}}")
    assert fill(double, PARAMETERS) == before + "{x}" + after
