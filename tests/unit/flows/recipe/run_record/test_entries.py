"""Entries of a journal come back as they were written, whatever messages hold."""

import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.recipe.run_record.entries import (
    Began,
    Done,
    Ended,
    Failed,
    HistoryEntry,
    Noted,
    Receiver,
    Refused,
    Repeated,
    Sent,
    SentMessage,
    decode_entry,
)
from flows.recipe.run_record.lenient_json import encode
from tasks.step import Note

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
)


def comes_back_as(payload):
    """Return what a payload is after its way through a journal."""
    written = encode(Sent(1.0, 0, [SentMessage([Receiver(1, 1)], payload)]))
    assert b"\n" not in written
    return decode_entry(written).sends[0].payload


@given(JSON)
def test_what_is_json_comes_back_as_it_was(payload):
    assert comes_back_as(payload) == payload


NUMBERS = st.integers(0)
TIMES = st.floats(0, 1e12)
HISTORIES = st.lists(st.builds(HistoryEntry, TIMES, st.none() | st.text(), st.none() | st.text()), max_size=2)
NOTES = st.builds(Note, st.text(), NUMBERS, st.none() | st.text(), st.booleans())
SENDS = st.lists(
    st.builds(
        SentMessage,
        st.lists(st.builds(Receiver, NUMBERS, NUMBERS, st.none() | TIMES), max_size=3),
        JSON,
        st.none() | st.text(),
        st.none() | NUMBERS,
        st.none() | st.dictionaries(st.text(), JSON, max_size=2),
        st.none() | NUMBERS,
        st.none() | NUMBERS,
        st.none() | HISTORIES,
    ),
    max_size=3,
)


@given(
    st.one_of(
        st.builds(Began, TIMES, st.text(), NUMBERS, st.text()),
        st.builds(Ended, TIMES, st.none() | st.text(), st.none() | st.text()),
        st.builds(Sent, TIMES, NUMBERS, SENDS, st.just(()) | st.lists(NUMBERS, min_size=1)),
        st.builds(Done, TIMES, NUMBERS, st.lists(NUMBERS)),
        st.builds(Failed, TIMES, NUMBERS, NUMBERS, st.text()),
        st.builds(Refused, TIMES, NUMBERS, NUMBERS, st.text(), st.just(()) | SENDS.filter(bool)),
        st.builds(Noted, TIMES, NUMBERS, st.lists(NOTES)),
        st.builds(Repeated, TIMES, st.lists(NUMBERS), st.just(()) | SENDS.filter(bool)),
    )
)
def test_every_entry_comes_back_as_it_was(written):
    assert decode_entry(encode(written)) == written


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (2**64, 2**64),
        (-(2**200), -(2**200)),
        ([2**70, 0.1, "é"], [2**70, 0.1, "é"]),
        ("half a \ud83d pair", "half a \ud83d pair"),
        ({1: "a", None: "b", 2.5: "c"}, {"1": "a", "null": "b", "2.5": "c"}),
        ({True: "d"}, {"true": "d"}),
        (math.nan, None),
        (math.inf, None),
        ((1, 2), [1, 2]),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (b"raw", "cmF3"),
        ("a\nb\r\n\u2028c\x00", "a\nb\r\n\u2028c\x00"),
    ],
)
def test_what_is_not_quite_json_comes_back_as_something_alike(written, read):
    assert comes_back_as(written) == read


def test_values_nested_deeply_come_back():
    deep = 1
    for _ in range(400):
        deep = [deep]
    assert comes_back_as(deep) == deep


@pytest.mark.parametrize("key", [(1, 2), frozenset()])
def test_keys_that_are_no_text_are_refused(key):
    with pytest.raises(TypeError, match="keys must be str"):
        encode({key: 1})
