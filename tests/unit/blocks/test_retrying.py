"""What is tried again, how often, for how long, and what is said meanwhile."""

import asyncio

import pytest

from blocks.errors import DatabaseUnavailable, PassingFault
from blocks.retrying import Pauses, retry, retry_blocking

AT_ONCE = Pauses(0.0, 0.0)


class Stumbling:
    """Work that fails so many times, then returns how often it was called."""

    def __init__(self, failures, fault=DatabaseUnavailable):
        self.failures, self.fault, self.calls = failures, fault, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.fault(f"fault {self.calls}")
        return self.calls

    async def later(self):
        return self()


@pytest.fixture(params=["async", "blocking"])
def tried(request):
    """Try some work again, in either way."""

    def run(work, on, pauses, **limits):
        if request.param == "blocking":
            return retry_blocking(work, on, pauses, **limits)
        return asyncio.run(retry(work.later, on, pauses, **limits))

    return run


def test_faults_that_may_pass_are_tried_again(tried):
    assert tried(Stumbling(3), DatabaseUnavailable, AT_ONCE) == 4


def test_other_faults_are_raised_at_once(tried):
    work = Stumbling(1, fault=PassingFault)
    with pytest.raises(PassingFault, match="fault 1"):
        tried(work, DatabaseUnavailable, AT_ONCE)
    assert work.calls == 1


def test_a_function_may_tell_which_faults_pass(tried):
    work = Stumbling(9)
    with pytest.raises(DatabaseUnavailable, match="fault 3"):
        tried(work, lambda error: "3" not in str(error), AT_ONCE)


def test_tries_have_an_end_and_the_last_fault_is_raised(tried):
    work = Stumbling(99)
    with pytest.raises(DatabaseUnavailable, match="fault 4"):
        tried(work, DatabaseUnavailable, AT_ONCE, tries=4)
    assert work.calls == 4


def test_no_try_begins_when_patience_is_over(tried):
    work = Stumbling(99)
    with pytest.raises(DatabaseUnavailable, match="fault 1"):
        tried(work, DatabaseUnavailable, Pauses(60.0, 60.0), patience_s=20.0)
    assert work.calls == 1


def test_each_pause_is_told_with_its_fault(tried):
    told = []
    tried(Stumbling(3), DatabaseUnavailable, Pauses(0.001, 0.002), tell=lambda *what: told.append(what))
    assert [str(fault) for fault, _ in told] == ["fault 1", "fault 2", "fault 3"]
    assert all(least / 2 <= pause <= least for (_, pause), least in zip(told, (0.001, 0.002, 0.002), strict=True))


async def test_waiting_can_be_cancelled():
    is_waiting = asyncio.Event()
    waiting = asyncio.create_task(
        retry(Stumbling(9).later, DatabaseUnavailable, Pauses(600.0, 600.0), tell=lambda *_: is_waiting.set())
    )
    await asyncio.wait_for(is_waiting.wait(), 60)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 60)


async def test_work_can_be_cancelled():
    calls = []

    async def work():
        calls.append(asyncio.current_task())
        await asyncio.Event().wait()

    working = asyncio.create_task(retry(work, lambda error: True, AT_ONCE, tries=3))
    while not calls:
        await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(working, 60)
    assert len(calls) == 1


def test_pauses_double_up_to_the_longest_less_a_half_at_most_and_differ():
    pauses = Pauses(first_s=0.1, longest_s=2.0)
    waits = [pauses.after(failures) for failures in range(1, 21)]
    assert all(0.05 <= wait <= 2.0 for wait in waits)
    assert min(waits[10:]) >= 1.0
    assert len(set(waits)) == 20


def test_no_pause_is_longer_than_the_longest():
    assert max(Pauses(first_s=60.0, longest_s=2.0).after(failures) for failures in (1, 2, 3, 10**6)) <= 2.0
