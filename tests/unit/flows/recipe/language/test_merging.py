"""Several recipes made one: numbers, links, start and error lists; the originals stay as they are."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import RecipeError
from flows.recipe.language.merging import merge
from flows.recipe.language.recipe import Recipe, links, recipe_from_document
from flows.recipe.language.validation import validate
from tests.support.recipe_strategies import recipe_documents

FIRST = {"1": {"output": 2}, "2": {}, "start": [[1, "a"]]}
TWICE = {"1": {"output": 2}, "2": {}, "3": {"output": 4}, "4": {}, "start": [[1, "a"], [3, "a"]]}


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        (
            FIRST,
            {"5": {"output": [3, 3]}, "3": {"error": {"x": 8}}, "8": {}, "start": [[5, "x"], [5, "y"]]},
            {
                "1": {"output": [2]}, "2": {}, "3": {"output": [4, 4]}, "4": {"error": {"x": 5}}, "5": {},
                "start": [[1, "a"], [3, "x"], [3, "y"]],
            },
        ),
        (
            FIRST,
            {
                "2": {"output": {"a": 1, "b": [1, None], "c": None}, "error": 9}, "9": {"error": None}, "1": {},
                "start": [[2, 0]],
            },
            {
                "1": {"output": [2]}, "2": {}, "3": {"output": {"a": 5, "b": [5, None], "c": None}, "error": 4},
                "4": {"error": None}, "5": {}, "start": [[1, "a"], [3, 0]],
            },
        ),
        (
            {"7": {"output": 3}, "3": {}, "start": [[7, 0]]},
            {"7": {}, "start": [[7, 1]]},
            {"7": {"output": 3}, "3": {}, "8": {}, "start": [[7, 0], [8, 1]]},
        ),
        (
            {"-5": {}, "start": [[-5, 0]]},
            {"-1": {}, "start": [[-1, 1]]},
            {"-5": {}, "2": {}, "start": [[-5, 0], [2, 1]]},  # as Zocalo counts; 0 is no node's number
        ),
        (
            {**FIRST, "error": [2]},
            {**FIRST, "error": [1, 2]},
            {**TWICE, "error": [2, 3, 4]},
        ),
        (FIRST, FIRST, TWICE),
        (FIRST, {**FIRST, "error": [2]}, {**TWICE, "error": [4]}),
        ({**FIRST, "error": [2]}, FIRST, {**TWICE, "error": [2]}),
    ],
)  # fmt: skip
def test_the_second_follows_after_the_first_in_its_own_order(first, second, merged):
    assert merge(first, second) == merged
    assert merge(json.dumps(first), json.dumps(second)) == merged
    assert merge(recipe_from_document(first), recipe_from_document(second)) == merged


@pytest.mark.parametrize("nothing", [None, {}, "", " ", "{}", "null", Recipe({}, ())], ids=repr)
def test_what_is_empty_adds_nothing(nothing):
    assert merge(FIRST, nothing) == FIRST
    assert merge(nothing, FIRST) == FIRST
    with pytest.raises(RecipeError, match="No recipe defined"):
        merge(nothing, nothing)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ('{"1": ', "not JSON"),
        ("[1]", "JSON object"),
        ({"1": {}}, "'start'"),
        ({"1": {"output": 1}, "start": [[1, 0]]}, "cycle"),
        (Recipe({1: {"output": [1]}}, ((1, 0),)), "cycle"),
        ({"1": {"output": {"a": {"b": 1}}}, "start": [[1, 0]]}, "Invalid link"),
    ],
)
def test_both_must_obey_the_rules(wrong, complaint):
    for pair in [(FIRST, wrong), (wrong, FIRST), (None, wrong), (wrong, None)]:
        with pytest.raises(RecipeError, match=complaint):
            merge(*pair)


@given(st.lists(recipe_documents(max_nodes=4), min_size=1, max_size=4))
@settings(max_examples=60)
def test_merged_recipes_are_sound_and_hold_every_node_message_and_error_of_each(documents):
    recipes = [recipe_from_document(document) for document in documents]
    before = copy.deepcopy(recipes)
    merged = merge(*recipes)
    assert recipes == before
    validate(merged)
    assert len(merged.nodes) == sum(len(recipe.nodes) for recipe in recipes)
    assert [payload for _, payload in merged.start] == [payload for recipe in recipes for _, payload in recipe.start]
    assert len(merged.error) == sum(len(recipe.error) for recipe in recipes)
    numbers = iter(merged.nodes)
    for recipe in recipes:
        renumbered = dict(zip(recipe.nodes, numbers, strict=False))
        for old, new in renumbered.items():
            node, moved = recipe.nodes[old], merged.nodes[new]
            assert [(path, renumbered[target]) for path, target in links(node)] == list(links(moved))
            assert {**moved, "output": 0, "error": 0} == {**node, "output": 0, "error": 0}
    assert merged == merge(merge(*recipes[:-1]) if recipes[1:] else None, recipes[-1])


@given(recipe_documents())
@settings(max_examples=30)
def test_what_is_merged_shares_nothing_with_its_parts(document):
    recipe = recipe_from_document(document)
    text = recipe.to_json()
    for merged in (merge(recipe, FIRST), merge(FIRST, recipe), merge(recipe, None)):
        for node in merged.nodes.values():
            node.clear()
        for _, payload in merged.start:
            if isinstance(payload, dict | list):
                payload.clear()
    assert recipe.to_json() == text
