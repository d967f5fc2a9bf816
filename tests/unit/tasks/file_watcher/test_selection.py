"""Which outputs hear about which item."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.errors import MessageRefused
from tasks.file_watcher.selection import NamedOutputs, is_selected


@given(wanted=st.integers(1, 400), count=st.integers(1, 4000))
def test_selection_has_the_right_size_both_ends_and_two_spacings(wanted, count):
    chosen = [number for number in range(1, count + 1) if is_selected(number, wanted, count)]
    assert len(chosen) == min(wanted, count)
    assert chosen[0] == 1
    if wanted > 1:
        assert chosen[-1] == count
    spacings = {later - earlier for earlier, later in pairwise(chosen)}
    assert len(spacings) <= 2


@pytest.mark.parametrize(
    ("wanted", "count", "chosen"),
    [
        (1, 10, [1]),
        (1, 1, [1]),
        (2, 10, [1, 10]),
        (3, 10, [1, 6, 10]),
        (4, 10, [1, 4, 7, 10]),
        (7, 10, [1, 2, 4, 6, 7, 9, 10]),
        (10, 10, list(range(1, 11))),
        (250, 10, list(range(1, 11))),
        (5, 1000, [1, 251, 501, 751, 1000]),
    ],
)
def test_selection_by_example(wanted, count, chosen):
    assert [number for number in range(1, count + 1) if is_selected(number, wanted, count)] == chosen


def test_selection_is_exact_for_counts_beyond_floating_point():
    count = 10**17
    assert is_selected(1, 3, count)
    assert is_selected(1 + count // 2, 3, count)
    assert not is_selected(count // 2, 3, count)


EVERYTHING = dict.fromkeys(
    ["finally", "every-3", "every-2", "select-250", "select-2", "4", "1", "last", "every", "first", "any"], 2
)


@pytest.mark.parametrize(
    ("number", "outputs"),
    [
        (1, ["first", "every", "1", "select-250", "select-2", "every-3", "every-2"]),
        (2, ["every", "select-250"]),
        (3, ["every", "select-250", "every-2"]),
        (4, ["every", "last", "4", "select-250", "select-2", "every-3"]),
    ],
)
def test_outputs_fire_in_zocalos_order(number, outputs):
    assert list(NamedOutputs.of_output(EVERYTHING).for_item(number, 4)) == outputs


def test_a_single_item_is_first_and_last():
    assert list(NamedOutputs.of_output({"last": 1, "first": 1}).for_item(1, 1)) == ["first", "last"]


@pytest.mark.parametrize("output", [None, [], 2, [2, 3], {}, {"success": 2, "01": 2, "-1": 2, "0": 2, "²": 2}])
def test_an_output_that_names_no_item_hears_nothing(output):
    assert list(NamedOutputs.of_output(output).for_item(1, 1)) == []


def test_names_may_be_numbers_after_loading():
    assert list(NamedOutputs.of_output({7: [2]}).for_item(7, 10)) == ["7"]


@pytest.mark.parametrize("name", ["select-", "select-0", "select-x", "every-0", "every--1", "every-1.5", "every-²"])
def test_a_counted_output_without_a_count_is_refused(name):
    with pytest.raises(MessageRefused, match=f"output '{name}' should end in a number of 1 or more"):
        NamedOutputs.of_output({name: 2})
