"""Whole numbers are read in one way, at once, whatever is given for one."""

import time

import pytest

from tasks.whole_number import LARGEST, whole_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (-5, -5),
        ("5", 5),
        (" -05 ", -5),
        (5.0, 5),
        (LARGEST, LARGEST),
        (LARGEST + 1, None),
        (str(LARGEST + 1), None),
        pytest.param(10**5000, None, id="5001 digits"),
        pytest.param("9" * 100_000, None, id="100,000 digits"),
        (5.5, None),
        (1e300, None),
        (float("nan"), None),
        (float("inf"), None),
        ("1e3", None),
        ("1e999999999", None),
        ("1_000", None),
        ("0x10", None),
        ("١٢", None),
        ("5.0", None),
        ("5\0", None),
        ("", None),
        (True, None),
        (None, None),
        ([5], None),
        (b"5", None),
    ],
)
def test_whole_numbers_and_nothing_else(value, number):
    begin = time.monotonic()
    assert whole_number(value) == number
    assert time.monotonic() - begin < 1
