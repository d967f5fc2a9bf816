"""Placeholders: every form and every failure, in keys, values, lists and start payloads."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import RecipeError
from flows.recipe.language.recipe import Recipe, recipe_from_document
from flows.recipe.language.substitution import fill, fill_recipe
from tests.support.recipe_strategies import JSON, SCALARS

PARAMETERS = {
    "name": "lyso",
    "number": 7,
    "nothing": None,
    "list": [1, 2],
    "pair": (1, 2),
    "braces": "{name} {{}} {$REPLACE:list}",
    "info": {"dir": "/d/", "deep": [{"x": 1}], "a.b": "dotted", "7": "text", 8: "number", "01": "padded"},
    "a b": "spaced",
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("no braces: none!", "no braces: none!"),
        ("{name}", "lyso"),
        ("{number}", "7"),
        ("{nothing} {list} {pair}", "None [1, 2] (1, 2)"),
        ("{name}_{number:04d}.cbf", "lyso_0007.cbf"),
        ("{number:>{number}}|{name:{number}}|", "      7|lyso   |"),
        ("{name!r} {name!s} {name!a} {name!r:>8}", "'lyso' lyso 'lyso'   'lyso'"),
        ("{name:}", "lyso"),
        ("{name[0]}", "l"),
        ("{info[dir]}x", "/d/x"),
        ("{info[deep][0][x]:03}", "001"),
        ("{info[a.b]}", "dotted"),
        ("{info[7]} {info[8]} {info[01]}", "text number padded"),
        ("{list[1]} {pair[0]}", "2 1"),
        ("{a b}", "spaced"),
        ("{braces}", "{name} {{}} {$REPLACE:list}"),
        ("{unknown}", "{unknown}"),
        ("{unknown:}", "{unknown}"),
        ("{unknown!r}", "{unknown!r}"),
        ("{ name }", "{ name }"),
        ("{-1} {1a}", "{-1} {1a}"),
        ("{unknown[key][0]}", "{unknown[key][0]}"),
        ("{unknown[01][-1]}", "{unknown[01][-1]}"),
        ("{unknown[a.b]} {unknown[[]}", "{unknown[a.b]} {unknown[[]}"),
        ("{unknown}: {name}!", "{unknown}: lyso!"),
        ("{visit_id}-{name}-{timestamp}{multipart}.xml", "{visit_id}-lyso-{timestamp}{multipart}.xml"),
        ("{{literal}} {{{name}}}", "{literal} {lyso}"),
        ("{{$REPLACE:list}}", "{$REPLACE:list}"),
        ("{$REPLACE:list}", [1, 2]),
        ("{$REPLACE:pair}", (1, 2)),
        ("{$REPLACE:name}", "lyso"),
        ("{$REPLACE:number}", 7),
        ("{$REPLACE:nothing}", None),
        ("{$REPLACE:braces}", "{name} {{}} {$REPLACE:list}"),
        ("{$REPLACE:info[deep][0]}", {"x": 1}),
        ("{$REPLACE:info[7]}", "text"),
        ("{$REPLACE:name[0]}", "l"),
        ("{$REPLACE:unknown}", None),
        ("{$REPLACE: name}", None),
        ("{$REPLACE:unknown[key][0]}", None),
        ("{$REPLACE:unknown.attribute}", None),
        ("{$REPLACE:info[absent]}", None),
        ("{$REPLACE:info[absent][further]}", None),
    ],
)
def test_placeholders_are_filled(text, filled):
    assert fill(text, PARAMETERS) == filled
    if isinstance(filled, str):
        assert fill({"a": [f"{text}", (text,)]}, PARAMETERS) == {"a": [filled, (filled,)]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{info[absent]}", "no key 'absent'"),
        ("{info[dir][x]}", r"a str of 3 has no \[x\]"),
        ("{info['dir']}", "no key \"'dir'\""),
        ("{list[9]}", r"a list of 2 has no \[9\]"),
        ("{list[x]}", r"a list of 2 has no \[x\]"),
        ("{list[-1]}", r"a list of 2 has no \[-1\]"),
        ("{list[99999999999999999999999]}", "a list of 2 has no"),
        ("{number[0]}", r"a int has no \[0\]"),
        ("{nothing[x]}", r"a NoneType has no \[x\]"),
        ("{name.absent}", "absent"),
        ("{info[]}", r"expected a name followed by \[key\]"),
        ("{info[dir]x}", "expected a name followed by"),
        ("{info[dir}", "expected '}'"),
        ("{name:04d}", "format code 'd'"),
        ("{nothing:04d}", "format string"),
        ("{list:>9}", "format string"),
        ("{name:{unknown}}", "format"),
        ("{name:{{}}}", "format"),
        ("{number:{name}}", "format"),
        ("{number:{$REPLACE:number}}", "all of the text"),
        ("{number:>99999}", "wider than 9999"),
        ("{number:.99999f}", "wider than 9999"),
        ("{number:>{huge}}", "wider than 9999"),
        ("{huge:c}", "arg not in range"),
        ("{name!x}", "unknown conversion !x"),
        ("{name!}", "can't be filled"),
        ("{unknown!x}", "unknown conversion !x"),
        ("{unknown:04d}", "'unknown' is unknown, so it can't be formatted; known: 'a b', 'braces'"),
        ("{unknown!r:>10}", "can't be formatted"),
        ("{unknown[key]:d}", "can't be formatted"),
        ("{unknown.upper}", "can't be formatted"),
        ("{unknown.__class__}", "can't be formatted"),
        ("{unknown[key].upper}", "can't be formatted"),
        ("{", "Single '{'"),
        ("}", "Single '}'"),
        ("{name", "expected '}'"),
        ("{name}}", "Single '}'"),
        ("{}", "has no name"),
        ("{0}", "has no name"),
        ("{00}", "has no name"),
        ("{0[key]}", "has no name"),
        ("{[key]}", "has no name"),
        ("{.key}", "has no name"),
        ("{:d}", "has no name"),
        ("{!r}", "has no name"),
        ("{$REPLACE}", "all of the text"),
        ("{$REPLACE:}", "all of the text"),
        ("{$REPLACE:0}", "has no name"),
        ("{$REPLACE:[x]}", "has no name"),
        ("x {$REPLACE:list}", "all of the text"),
        ("{$REPLACE:list}\n", "all of the text"),
        ("{$REPLACE:list}{$REPLACE:list}", "all of the text"),
        ("{$REPLACE:list[9]}", r"a list of 2 has no \[9\]"),
        ("{$REPLACE:list[a]}", r"a list of 2 has no \[a\]"),
        ("{$REPLACE:list[-1]}", r"a list of 2 has no \[-1\]"),
        ("{$REPLACE:number[key]}", "a int has no"),
        ("{$REPLACE:nothing[key]}", "a NoneType has no"),
        ("{$REPLACE:info.dir}", "expected a name followed by"),
        ("{$REPLACE:info[deep]x}", "expected a name followed by"),
        ("{name:" * 2000 + "}" * 2000, "nested too deeply"),
    ],
)
def test_what_can_not_be_filled_is_refused(text, complaint):
    known = PARAMETERS | {"huge": 10**12}
    with pytest.raises(RecipeError, match=complaint):
        fill(text, known)
    with pytest.raises(RecipeError, match=complaint):
        fill([{"key": (text,)}], known)
    with pytest.raises(RecipeError, match=complaint):
        fill({text: 1}, known)


def test_a_number_of_more_digits_than_python_writes_is_refused():
    with pytest.raises(RecipeError, match="can't be filled: Exceeds the limit"):
        fill("{huge}", {"huge": 10**5000})


def test_what_is_replaced_by_something_bottomless_is_refused():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RecipeError, match="nested more than 100 levels"):
        fill("{$REPLACE:deep}", {"deep": deep})
    with pytest.raises(RecipeError, match="nested too deeply"):
        fill(deep, {})


def test_keys_nested_values_and_start_payloads_are_filled_and_the_recipe_stays_as_it_was():
    document = {
        "1": {"{name}": {"list": ["{number}", 5, None, True, 1.5]}, "output": {"{name}": 1.0}},
        "start": [[1, {"{number}": "{$REPLACE:list}"}], [1, "{unknown}"]],
        "error": [1],
    }
    original = recipe_from_document(document)
    text = original.to_json()
    filled = fill_recipe(original, PARAMETERS)
    assert filled.nodes == {1: {"lyso": {"list": ["7", 5, None, True, 1.5]}, "output": {"lyso": 1.0}}}
    assert filled.start == ((1, {"7": [1, 2]}), (1, "{unknown}"))
    assert filled.error == (1,)
    assert original.to_json() == text


def test_a_replaced_structure_is_a_copy():
    copied = fill("{$REPLACE:info}", PARAMETERS)
    copied["deep"].append(1)
    assert PARAMETERS["info"]["deep"] == [{"x": 1}]


def test_a_number_as_a_key_becomes_text_and_a_structure_is_refused():
    assert fill({"{$REPLACE:number}": 1}, PARAMETERS) == {"7": 1}
    for key in ("{$REPLACE:list}", "{$REPLACE:unknown}"):
        with pytest.raises(RecipeError, match="expected text to take its place"):
            fill({key: 1}, PARAMETERS)


def test_two_keys_that_become_the_same_are_refused():
    for value in ({"{name}": 1, "lyso": 2}, {"{nothing}": 1, "{nothing!s}": 2}):
        with pytest.raises(RecipeError, match=r"node 1: keys .* become the same"):
            fill_recipe(recipe_from_document({"1": {"parameters": value}, "start": [[1, 0]]}), PARAMETERS)


def test_no_placeholder_can_become_a_link_that_nobody_has_checked():
    for key in ("output", "error"):
        with pytest.raises(RecipeError, match=f"node 1: a placeholder becomes the key '{key}'"):
            fill_recipe(recipe_from_document({"1": {"{key}": [99]}, "start": [[1, 0]]}), {"key": key})


def test_what_fails_names_its_place():
    for document, place in [
        ({"3": {"queue": "{info[absent]}"}, "start": [[3, 0]]}, "node 3: placeholders in '{info"),
        ({"3": {}, "start": [[3, "{info[absent]}"]]}, "'start' of node 3: placeholders in '{info"),
    ]:
        with pytest.raises(RecipeError, match=re.escape(place)):
            fill_recipe(recipe_from_document(document), PARAMETERS)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ -]{0,4}", fullmatch=True)
KEYS = st.text(st.characters(exclude_characters="{}[]!:.", exclude_categories=["Cs", "Nd"]), min_size=1, max_size=4)


def escaped(text):
    return text.replace("{", "{{").replace("}", "}}")


@st.composite
def pieces(draw):
    """Draw a piece of a text, what it becomes, and the parameters that it needs."""
    name, keys = draw(NAMES), draw(st.lists(KEYS, max_size=2))
    kind = draw(st.sampled_from(["literal", "unknown", "known", "padded", "shown", "index"]))
    if kind == "literal":
        literal = draw(st.text(max_size=6))
        return escaped(literal), literal, {}
    if kind == "unknown":
        field = f"{{?{name}{''.join(f'[{key}]' for key in keys)}}}"  # no known name begins so
        return field, field, {}
    if kind == "padded":
        width, value = draw(st.integers(1, 20)), draw(st.integers())
        name = f"p{width}{value}"
        return f"{{{name}:0{width}d}}", f"{value:0{width}d}", {name: value}
    value = draw(SCALARS | st.text(max_size=6))
    if kind == "shown":
        return f"{{{name}x!r}}", repr(value), {f"{name}x": value}
    if kind == "index":
        values = [*draw(st.lists(SCALARS, max_size=3)), value]
        return f"{{{name}i[{len(values) - 1}]}}", str(value), {f"{name}i": values}
    parameter = value
    for key in reversed(keys):
        parameter = {key: parameter}
    name += f"k{len(keys)}"
    return f"{{{name}{''.join(f'[{key}]' for key in keys)}}}", str(value), {name: parameter}


@given(st.lists(pieces(), max_size=6))
@settings(max_examples=300)
def test_filled_text_is_what_its_pieces_come_to_one_by_one(drawn):
    parameters: dict = {}
    text = expected = ""
    for piece, becomes, needs in drawn:
        if any(name in parameters for name in needs):
            continue
        text, expected, parameters = text + piece, expected + becomes, parameters | needs
    if not text.startswith("{$REPLACE"):
        assert fill(text, parameters) == expected
        assert fill({"key": [text]}, parameters) == {"key": [expected]}
        assert fill({f"key{text}": 1}, parameters) == {f"key{expected}": 1}


@given(st.text(alphabet=st.characters(exclude_characters="{}")))
def test_text_without_braces_is_never_changed(text):
    assert fill(text, PARAMETERS) == text


@given(
    st.text(alphabet="ab{}[]!:.$0 ", max_size=12), st.dictionaries(st.sampled_from("ab"), SCALARS | JSON, max_size=2)
)
@settings(max_examples=500)
def test_where_all_names_are_known_the_result_is_python_s_own(text, parameters):
    try:
        expected = text.format_map(dict(parameters))
    except (KeyError, AttributeError):
        return  # an unknown name, or an attribute
    except (ValueError, LookupError, TypeError):
        with pytest.raises(RecipeError):
            fill(text, parameters)
        return
    try:
        assert fill(text, parameters) == expected
    except RecipeError as error:  # stricter than Python in what nobody means
        assert "wider than" in str(error)  # noqa: PT017


@given(JSON)
def test_values_without_placeholders_are_never_changed_and_escaped_ones_come_back(value):
    def escape(value):
        if isinstance(value, dict):
            return {escaped(key): escape(below) for key, below in value.items()}
        if isinstance(value, list):
            return [escape(item) for item in value]
        return escaped(value) if isinstance(value, str) else value

    assert json.dumps(fill(escape(value), {"name": 1})) == json.dumps(value)


@given(JSON)
def test_a_replaced_structure_is_equal_and_what_it_holds_is_not_filled(value):
    assert fill({"key": ["{$REPLACE:value}"]}, {"value": value, **PARAMETERS}) == {"key": [value]}


@given(st.dictionaries(NAMES, SCALARS, max_size=3), JSON)
def test_filling_an_unused_parameter_changes_nothing(parameters, value):
    recipe = Recipe({1: {"parameters": value}}, ((1, value),))
    try:
        filled = fill_recipe(recipe, {})
    except RecipeError:
        return
    unused = {f"unused {name}": value for name, value in parameters.items()}
    assert fill_recipe(recipe, unused) == filled
