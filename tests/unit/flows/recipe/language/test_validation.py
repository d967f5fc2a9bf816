"""The rules of the recipe language: each has its words, and names the node and the way there."""

import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import RecipeError
from flows.recipe.language.recipe import InvalidRecipe, Recipe, parse_recipe, reachable, recipe_from_document
from flows.recipe.language.validation import graph_problems, validate
from tests.support.recipe_strategies import JSON, NUMBERS, add_link, recipe_documents


def refusal(document):
    """Return why a document is no sound recipe; empty if it is one."""
    try:
        validate(recipe_from_document(document))
    except RecipeError as error:
        return str(error)
    return ""


START = {"start": [[1, []]]}


@pytest.mark.parametrize(
    "document",
    [
        {"1": {}, "start": [(1, None)]},
        {"1": {}, "start": ((1, {}), (1, {"any": ["JSON"]}))},
        {"-1": {}, "start": [[-1, 1]]},
        {1: {"output": 2}, 2: {}, **START},
        {"1": {"output": None, "error": None}, "error": None, **START},
        {"1": {"output": [], "error": {}}, "error": [], **START},
        {"1": {"output": {"a": None, "b": 2, "c": [2, 2], "d": []}}, "2": {}, **START},
        {"1": {"error": 2}, "2": {"error": [3]}, "3": {"error": {"x": 4}}, "4": {}, **START},
        {"1": {}, "2": {"output": 3}, "3": {}, "error": [2], **START},
        {"1": {"output": [2, 3]}, "2": {"output": 4}, "3": {"output": 4}, "4": {}, **START},
        {"1": {"service": 5, "parameters": "any", "comment": [None]}, **START},
    ],
)
def test_sound_recipes_pass(document):
    assert refusal(document) == ""


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, ["No recipe defined"]),
        ({}, ["No recipe defined"]),
        ([], ["No recipe defined"]),
        ("text", ["JSON object", "str"]),
        ({"start": [[1, 1]]}, ["No recipe defined"]),
        ({"1": {}}, ["'start' is missing"]),
        ({"1": {}, "start": None}, ["'start' is missing"]),
        ({"1": {}, "start": []}, ["'start' is missing or empty"]),
        ({"1": {}, "start": {"1": []}}, ["'start' {'1': []}: expected a list of [node, payload] pairs"]),
        ({"1": {}, "start": {"1": []}}, ["'start'", "list of [node, payload]"]),
        ({"1": {}, "start": [1]}, ["'start' entry 1", "pair"]),
        ({"1": {}, "start": [[1]]}, ["'start' entry [1]", "pair"]),
        ({"1": {}, "start": [[1, 2, 3]]}, ["'start'", "pair"]),
        ({"1": {}, "start": [["1", 2]]}, ["'start' entry ['1', 2]", "pair"]),
        ({"1": {}, "start": [[True, 2]]}, ["'start'", "pair"]),
        ({"1": {}, "start": [["start", 2]]}, ["'start' leads to itself"]),
        ({"1": {}, "start": [["error", 2]]}, ["'start' entry"]),
        ({"1": {}, "start": [[7, 2]]}, ["'start' leads to node 7, which doesn't exist", "known nodes: 1"]),
        ({"1": {}, "error": ["start"], **START}, ["'error' leads to 'start'"]),
        ({"1": {}, "error": ["error"], **START}, ["'error' leads to 'error'"]),
        ({"1": {}, "error": ["1"], **START}, ["recipe-level 'error' '1'"]),
        ({"1": {}, "error": [None], **START}, ["recipe-level 'error' None"]),
        ({"1": {}, "error": {"a": 1}, **START}, ["recipe-level 'error'", "list"]),
        ({"1": {}, "error": [7], **START}, ["'error' leads to node 7, which doesn't exist"]),
        ({"x": {}, "1": {}, **START}, ["'x' is not numeric"]),
        ({"": {}, "1": {}, **START}, ["'' is not numeric"]),
        ({"1.5": {}, "1": {}, **START}, ["'1.5' is not numeric"]),
        ({1.5: {}, "1": {}, **START}, ["1.5 is not numeric"]),
        ({True: {}, **START}, ["True is not numeric"]),
        ({None: {}, "1": {}, **START}, ["None is not numeric"]),
        ({"0": {}, "start": [[0, 1]]}, ["'0' is not numeric"]),
        ({0: {}, "start": [[0, 1]]}, ["0 is not numeric"]),
        ({"9" * 5000: {}, "1": {}, **START}, ["is not numeric"]),
        ({"9" * 30: {}, "1": {}, **START}, ["is not numeric"]),
        ({"1": {}, "01": {}, **START}, ["node 1", "'1' and '01' are the same number"]),
        ({"1": {}, 1: {}, **START}, ["node 1", "the same number"]),
        ({"1": [], **START}, ["node 1: expected a JSON object, seen a list"]),
        ({"1": None, **START}, ["node 1: expected a JSON object, seen a NoneType"]),
        ({"1": {"p": {"deep": [math.nan]}}, **START}, ["node 1: nan is no JSON number"]),
        ({"1": {"p": -math.inf}, **START}, ["node 1: -inf"]),
        ({"1": {}, "start": [[1, math.inf]]}, ["'start' of node 1: inf"]),
        ({"1": {"p": "\ud800"}, **START}, ["node 1", "surrogate"]),
        ({"1": {"\udfff": 1}, **START}, ["node 1", "surrogate"]),
        ({"1": {"output": "2"}, "2": {}, **START}, ["node 1: Invalid link '2' in output"]),
        ({"1": {"output": 2.0}, "2": {}, **START}, ["Invalid link 2.0"]),
        ({"1": {"output": True}, **START}, ["Invalid link True"]),
        ({"1": {"output": False}, **START}, ["Invalid link False"]),
        ({"1": {"output": ""}, **START}, ["Invalid link ''"]),
        ({"1": {"output": 10**40}, **START}, ["Invalid link 1000"]),
        ({"1": {"output": 10**5000}, **START}, ["Invalid link a huge int"]),
        ({"1": {"output": [[2]]}, "2": {}, **START}, ["Invalid link [2]"]),
        ({"1": {"output": [{"a": 2}]}, "2": {}, **START}, ["Invalid link {'a': 2}"]),
        ({"1": {"output": {"a": {"b": 2}}}, "2": {}, **START}, ["Invalid link {'b': 2} in output.a: names don't nest"]),
        ({"1": {"output": {"a": [2, "b"]}}, "2": {}, **START}, ["Invalid link 'b' in output.a"]),
        ({"1": {"output": "start"}, **START}, ["Invalid link 'start'"]),
        ({"1": {"error": ["error"]}, **START}, ["node 1: Invalid link 'error' in error"]),
        ({"1": {"output": 0}, **START}, ["node 1: output leads to node 0", "(path start -> 1 -> 0)"]),
        ({"1": {"error": {"a": 7}}, **START}, ["node 1: error.a leads to node 7"]),
        (
            {"1": {"output": 2}, "2": {"error": {"x": 3}}, "3": {"output": {"every": [7]}}, **START},
            ["node 3: output.every leads to node 7", "(path start -> 1 -> 2 -> 3 -> 7)", "known nodes: 1, 2, 3"],
        ),
        ({"1": {}, "2": {"output": 7}, "error": [2], **START}, ["node 2", "(path error -> 2 -> 7)"]),
        ({"1": {}, "2": {"output": 7}, **START}, ["node 2", "(path 2 -> 7)"]),
        ({"1": {"output": 1}, **START}, ["node 1: cycle: 1 -> 1 (path start -> 1)"]),
        ({"1": {"error": 1}, **START}, ["cycle: 1 -> 1"]),
        (
            {"1": {"output": 2}, "2": {"output": 3}, "3": {"error": [2]}, **START},
            ["node 3: cycle: 2 -> 3 -> 2 (path start -> 1 -> 2)"],
        ),
        ({"1": {}, "2": {"output": 3}, "3": {"output": 2}, "error": [2], **START}, ["cycle: 2 -> 3 -> 2 (path error"]),
        ({"1": {}, "2": {}, **START}, ["node 2 can't be reached"]),
        ({"1": {}, "2": {"output": 2}, **START}, ["node 2 can't be reached"]),
        ({"1": {}, "2": {"output": 3}, "3": {}, **START}, ["node 2 can't", "node 3 can't"]),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named_with_its_node_and_the_way_there(document, words):
    message = refusal(document)
    assert [word for word in words if word not in message] == [], message


def test_all_problems_are_named_at_once_and_told_apart():
    with pytest.raises(InvalidRecipe) as caught:
        recipe_from_document({"x": {}, "1": [], "start": [], "error": ["start"]})
    assert len(caught.value.problems) == 4
    problems = graph_problems(recipe_from_document({"1": {"output": ["a", 7, 8]}, "start": [[1, 0], [9, 0]]}))
    assert len(problems) == 4


def test_broken_rules_survive_the_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(InvalidRecipe(["node 1: this", "node 2: that"])))
    assert (error.problems, str(error)) == (("node 1: this", "node 2: that"), "node 1: this; node 2: that")


def test_a_recipe_made_by_hand_obeys_the_same_rules():
    for recipe, complaint in [(Recipe({}, ()), "No recipe defined"), (Recipe({1: {}}, ()), "'start'")]:
        with pytest.raises(RecipeError, match=complaint):
            validate(recipe)


@pytest.mark.parametrize("text", ['{"1": {"p": DEEP}, "start": [[1, 0]]}', '{"1": {}, "start": [[1, DEEP]]}'])
def test_nesting_ends_at_a_hundred_levels(text):
    validate(parse_recipe(text.replace("DEEP", "[" * 99 + "]" * 99)))
    for levels in (110, 900, 100_000):
        with pytest.raises(RecipeError, match="nested"):
            parse_recipe(text.replace("DEEP", "[" * levels + "]" * levels))


@pytest.mark.parametrize("text", ['{"1": {"output": DEEP}, "start": [[1, 0]]}', '{"1": {}, "start": DEEP}', "DEEP"])
def test_bottomless_nesting_is_refused_wherever_it_is(text):
    for levels in (2, 110, 900, 100_000):
        with pytest.raises(RecipeError):
            validate(parse_recipe(text.replace("DEEP", "[" * levels + "]" * levels)))


def test_recipes_may_be_long():
    count = 20_000
    nodes = {str(n): {"output": n + 1} for n in range(1, count)} | {str(count): {}}
    assert refusal({**nodes, **START}) == ""
    nodes[str(count)] = {"output": 1}
    assert "cycle: 1 -> 2 -> 3" in refusal({**nodes, **START})


@given(recipe_documents())
def test_random_sound_recipes_pass(document):
    validate(recipe_from_document(document))
    validate(parse_recipe(json.dumps(document)))


def some_node(data, document):
    key = data.draw(st.sampled_from([key for key in document if key not in ("start", "error")]))
    return int(key), document[key]


def no_start(data, document):
    document["start"] = data.draw(st.sampled_from([None, [], {}, "1", 0, 1]))
    return "'start' is missing" if not document["start"] else "expected a list of [node, payload] pairs"


def no_pair(data, document):
    document["start"].append(data.draw(st.sampled_from([[1], [1, 2, 3], 1, None, ["1", 2], [1.0, 2], [None, 2]])))
    return "'start' entry"


def start_to_start(data, document):
    document["start"].append(["start", data.draw(JSON)])
    return "'start' leads to itself"


def error_to_keyword(data, document):
    document["error"] = [*document.get("error", []), data.draw(st.sampled_from(["start", "error"]))]
    return "recipe-level 'error' leads to"


def no_number(data, document):
    document[data.draw(st.sampled_from(["x", "", "0", "1.5", "0x1", "Start"]))] = {}
    return "is not numeric"


def no_object(data, document):
    number, _ = some_node(data, document)
    document[next(key for key in document if key not in ("start", "error") and int(key) == number)] = data.draw(
        st.sampled_from([None, [], 1, "text", True])
    )
    return f"node {number}: expected a JSON object"


def same_number(data, document):
    number, _ = some_node(data, document)
    document[f"{number:09}"] = {}
    return f"node {number}: keys"


def no_link(data, document):
    number, node = some_node(data, document)
    target = data.draw(st.sampled_from(["1", 1.0, True, [], [1], {}, {"a": 1}, "start"]))
    key = data.draw(st.sampled_from(["output", "error"]))
    add_link(node, target, key)
    return f"node {number}: Invalid link"


def to_nowhere(data, document):
    number, node = some_node(data, document)
    add_link(node, 1000, data.draw(st.sampled_from(["output", "error"])))
    return f"node {number}: "


def back(data, document):
    number, _ = some_node(data, document)
    end = data.draw(st.sampled_from(sorted(reachable(recipe_from_document(document), [number]))))
    node = next(node for key, node in document.items() if key not in ("start", "error") and int(key) == end)
    add_link(node, number, data.draw(st.sampled_from(["output", "error"])))
    return "cycle: "


def unreached(data, document):
    document["1000"] = {"output": data.draw(st.sampled_from([1000, None, []]))}
    return "node 1000 can't be reached"


MUTATIONS = [
    no_start, no_pair, start_to_start, error_to_keyword, no_number, no_object, same_number, no_link, to_nowhere, back,
    unreached,
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
@settings(max_examples=40)
@given(data=st.data())
def test_a_random_recipe_made_wrong_is_refused_by_the_right_rule(mutation, data):
    document = copy.deepcopy(data.draw(recipe_documents()))
    expected = mutation(data, document)
    assert expected in refusal(document)


@given(
    st.dictionaries(NUMBERS.filter(lambda n: -3 <= n <= 4), st.lists(st.integers(-3, 5), max_size=3), min_size=1),
    st.lists(st.integers(-3, 4), min_size=1, max_size=2),
    st.lists(st.integers(-3, 4), max_size=1),
)
def test_random_graphs_are_judged_as_by_a_closure_of_their_links(graph, start, error):
    document = {str(n): {"output": targets} for n, targets in graph.items()}
    message = refusal({**document, "start": [[n, 0] for n in start], "error": error})
    entries = {*start, *error}
    if entries - set(graph) or any(set(targets) - set(graph) for targets in graph.values()):
        assert "which doesn't exist" in message
        return
    closure = {n: set(targets) for n, targets in graph.items()}
    for _ in graph:
        closure = {n: below.union(*(closure[m] for m in below)) for n, below in closure.items()}
    reached = entries.union(*(closure[n] for n in entries))
    has_cycle = any(n in closure[n] for n in reached)
    assert ("cycle: " in message) == has_cycle
    assert [n for n in graph if f"node {n} can't be reached" in message] == [n for n in graph if n not in reached]
    assert bool(message) == (has_cycle or reached != set(graph))
