"""How far a run has come, as its progress artifact says: 100 when all is done, and not before."""

import pytest

from flows.recipe.publishing import NOT_YET_DONE, percent_at_end, percent_done
from flows.recipe.run_record.progress import NodeProgress


def progress(*nodes):
    return {number: NodeProgress(number, f"{number} · step", **counts) for number, counts in enumerate(nodes, 1)}


@pytest.mark.parametrize(
    ("nodes", "percent"),
    [
        ([{}], None),
        ([{"received": 5}], None),
        ([{"done": 0, "expected": 10}], 0),
        ([{"done": 4, "expected": 10}], 40),
        ([{"done": 8, "expected": 10}, {"done": 4, "received": 8}], 40),
        ([{"done": 8, "expected": 10}, {"done": 0, "received": 8}], 80),
        ([{"done": 10, "expected": 10}, {"done": 10, "received": 10}], NOT_YET_DONE),
        ([{"done": 20, "expected": 10}, {"done": 30, "received": 10}], NOT_YET_DONE),  # repeated by --from
        ([{"done": 9999, "expected": 10_000}], NOT_YET_DONE),
    ],
)
def test_what_is_there_and_handled_is_a_share_below_100(nodes, percent):
    assert percent_done(progress(*nodes)) == percent


@pytest.mark.parametrize(
    ("nodes", "percent"),
    [
        ([{}, {"received": 5}], 100),  # the watcher was done in an earlier process
        ([{"done": 4, "expected": 10}], 100),
        ([{"done": 20, "expected": 10}], 100),
        ([{"done": 10, "expected": 10}, {"received": 10, "refused": 1}], NOT_YET_DONE),
        ([{"done": 4, "expected": 10}, {"received": 10, "left": 10, "is_heard": False}], 40),
        ([{}, {"received": 10, "refused": 1}], None),
    ],
)
def test_a_run_that_is_over_stands_at_100_if_it_has_no_fault(nodes, percent):
    assert percent_at_end(progress(*nodes)) == percent
