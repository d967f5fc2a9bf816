"""YAML that is small as bytes and large as values is refused before anything is made of it."""

import resource
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.ispyb_access.reading.visit.looking import LONGEST_YAML
from tasks.ispyb_access.reading.visit.safe_yaml import MOST_LEVELS, MOST_VALUES, UnsafeYAML, load_plain


def laughs(levels, times=9):
    lines = ["a0: &a0 [" + ", ".join(["lol"] * times) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * times) + "]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "aliases of aliases": laughs(9),
    "merges of merges": "\n".join(
        ["a0: &a0 {x: 1, y: 2}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    ),
    "aliases in keys": "\n".join(
        ["a0: &a0 [1, 2]"] + [f"a{n}: &a{n} {{? [*a{n - 1}, *a{n - 1}] : 1}}" for n in range(1, 30)]
    ),
    "within itself": "&a [*a, *a]",
    "brackets": "[" * 100_000,
    "dashes": "- " * 100_000,
    "braces": "{a: " * 50_000,
    "questions": "? " * 100_000,
    "closed brackets": "[" * 500 + "]" * 500,
    "many values": "[" + "1," * 100_000 + "]",
    "long value": "a: " + 200_000 * "9",
    "long key": 2000 * "a" + ": 1",
    "python": "!!python/object/apply:os.system [ls]",
    "set": "!!set {a}",
    "binary": "!!binary aGVsbG8=",
    "no integer": "!!int ''",
    "no truth": "!!bool perhaps",
    "no time": "!!timestamp x",
    "wrong date": "2001-99-99",
    "wrong offset": "2001-01-01 00:00:00 +99:99",
    "list as a key": "? [1, 2]\n: 3",
    "mapping as a key": "{{a: b}: c}",
    "unknown alias": "a: *b",
    "many tags": "".join(f"%TAG !a{n}! tag:x,2000:\n" for n in range(18_000)) + "---\na: 1",
    "one tag": "%TAG !a! tag:x,2000:\n---\na: 1",
    "two documents": "a: 1\n---\nb: 2",
    "NUL": "a: \0",
    "escape": "a: \x1b[31m",
    "tab": "a:\n\t- b",
    "not UTF-8": "a: \udcff",
    "UTF-16": b"\xff\xfe" + "a: [".encode("utf-16-le"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_at_once_and_shown_to_nobody(text):
    content = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnsafeYAML) as refused:
        load_plain(content[: LONGEST_YAML + 1])
    assert time.monotonic() - begin < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cell: &c [1, 2.5]\nsame: *c", {"cell": [1, 2.5], "same": [1, 2.5]}),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}", {"base": {"x": 1}, "more": {"x": 1, "y": 2}}),
        ("a: !!str 19", {"a": "19"}),
        ("", None),
        ("[" * MOST_LEVELS + "]" * MOST_LEVELS, None),
        ("[" + "1," * (MOST_VALUES - 1) + "]", [1] * (MOST_VALUES - 1)),
        (laughs(2), {"a0": ["lol"] * 9, "a1": [["lol"] * 9] * 9}),
    ],
)
def test_what_people_write_is_read(text, value):
    read = load_plain(text.encode())
    assert value is None or read == value


PIECES = (*"[]{}?:,-&*!|>'\"\n #%@`", "a", "1", "&a ", "*a ", "<<: ", "!!int ", "- ", ": ", "1:1")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES)))
def test_whatever_is_written_is_read_or_refused(pieces):
    with suppress(UnsafeYAML):
        load_plain("".join(pieces).encode())
