"""When the worker asks which runs wait, and which of them it takes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from uuid import UUID

import pytest

from flows.warm_pool import turns as module
from flows.warm_pool.beamlines import Beamlines
from flows.warm_pool.choosing import Limits
from flows.warm_pool.places import RunsUnderWay
from flows.warm_pool.turns import UNASKED_S, Turns

BEAMLINES = {1: "i03", 2: "i03", 3: "i04"}


def waiting(number, dcid=1, *, decides=False):
    """A run as the API lists it."""
    tags = ["plaza", "mimas" if decides else "recipe"]
    return SimpleNamespace(flow_run=SimpleNamespace(id=UUID(int=number), parameters={"dcid": dcid}, tags=tags))


class Site:
    """An API and a worker."""

    def __init__(self, runs=32, cores=1, others=0):
        self.listed, self.cancelled, self.starting = [], set(), set()
        self.looks, self.short_looks, self.checks, self.read = 0, 0, [], []
        under_way = RunsUnderWay(lambda run: run in self.starting, cpu_seconds=lambda pid: 0.0)
        self.turns = Turns(Limits.of(runs, cores), under_way, Beamlines(self.read_beamlines), lambda: others)

    def read_beamlines(self, dcids):
        self.read.append(dcids)
        return {dcid: BEAMLINES[dcid] for dcid in dcids}

    async def ask(self):
        self.looks += 1
        return list(self.listed)

    async def ask_for_decisions(self):
        self.short_looks += 1
        return [each for each in self.listed if "mimas" in each.flow_run.tags]

    async def still_scheduled(self, runs):
        self.checks.append([run.int for run in runs])
        return set(runs) - self.cancelled

    async def take(self):
        """Do what the worker does, and return the numbers of the runs that it starts."""
        if self.turns.is_look_due:
            await self.turns.look(self.ask, self.ask_for_decisions)
        taken = [each.flow_run.id for each in await self.turns.take(self.still_scheduled)]
        self.starting |= set(taken)
        self.listed = [each for each in self.listed if each.flow_run.id not in taken]
        return [run.int for run in taken]

    def end(self, *numbers):
        self.starting -= {UUID(int=number) for number in numbers}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


async def test_what_there_is_room_for_starts_at_once_and_nobody_asks_for_its_beamline():
    site = Site()
    site.listed = [waiting(1), waiting(2, decides=True)]
    assert await site.take() == [2, 1]
    assert (site.looks, site.checks, site.read) == (1, [], [])


async def test_a_run_that_is_listed_again_while_it_is_being_started_is_not_taken_twice():
    site = Site()
    site.listed = [waiting(1)]
    await site.take()
    site.listed = [waiting(1)]
    await site.turns.look(site.ask, site.ask_for_decisions)
    assert await site.take() == []


async def test_another_beamlines_event_is_taken_before_those_that_came_earlier():
    site = Site()
    site.listed = [waiting(number, decides=True) for number in range(1, 6)]
    assert await site.take() == [1]  # one core
    site.listed.append(waiting(6, dcid=3, decides=True))
    await site.turns.look(site.ask, site.ask_for_decisions)
    assert await site.take() == [6]
    assert site.read == [[1], [3]]


async def test_runs_of_an_earlier_worker_take_places():
    site = Site(runs=8, others=7)
    site.listed = [waiting(1), waiting(2, decides=True)]
    assert await site.take() == [2]


async def test_a_turn_is_taken_without_asking_the_api_for_all_that_wait():
    site = Site()
    site.listed = [waiting(1, decides=True), waiting(2, decides=True)]
    assert await site.take() == [1]
    site.end(1)
    assert await site.take() == [2]
    assert (site.looks, site.checks) == (1, [[2]])


async def test_a_run_that_was_cancelled_while_it_waited_does_not_start():
    site = Site()
    site.listed = [waiting(number, decides=True) for number in (1, 2, 3)]
    assert await site.take() == [1]
    site.end(1)
    site.cancelled.add(UUID(int=2))
    assert await site.take() == []
    assert await site.take() == [3]


async def test_the_api_is_asked_when_a_run_is_announced_and_now_and_then(clock):
    turns = Site().turns
    assert turns.is_look_due
    await turns.look(Site().ask, Site().ask_for_decisions)
    assert not turns.is_look_due
    clock.now += UNASKED_S
    assert turns.is_look_due
    await turns.look(Site().ask, Site().ask_for_decisions)
    await turns.announce()
    assert turns.is_look_due


async def test_looks_that_take_long_are_seldom_and_those_for_decisions_come_before(clock):
    site = Site()
    kinds = []

    async def ask():
        clock.now += 2.0
        await site.turns.announce()  # what comes while the API answers is news again
        kinds.append("all")
        return [waiting(1), waiting(2, decides=True)]

    async def ask_for_decisions():
        clock.now += 1.0
        kinds.append("decisions")
        return [waiting(3, decides=True)]

    await site.turns.look(ask, ask_for_decisions)  # until 102
    clock.now += 1.9
    assert not site.turns.is_look_due
    clock.now += 0.2
    assert site.turns.is_look_due
    await site.turns.look(ask, ask_for_decisions)  # until 105.1
    assert {each.flow_run.id.int for each in await site.turns.take(site.still_scheduled)} == {1, 3}
    clock.now = 106.9
    assert not site.turns.is_look_due  # nothing new, but a look for all is owed
    clock.now = 107.1
    assert site.turns.is_look_due
    await site.turns.look(ask, ask_for_decisions)
    assert kinds == ["all", "decisions", "all"]


async def test_an_answer_that_came_after_an_outage_does_not_hold_up_the_next_look(clock):
    site = Site()

    async def hang():
        clock.now += 45
        return []

    await site.turns.look(hang, hang)
    await site.turns.announce()
    clock.now += 2.1
    assert site.turns.is_look_due
    await site.turns.look(site.ask, site.ask_for_decisions)
    clock.now += 3
    await site.turns.look(site.ask, site.ask_for_decisions)
    assert (site.short_looks, site.looks) == (1, 1)  # for decisions, then for all


async def test_where_decisions_have_no_queue_of_their_own_all_that_waits_stays_known(clock):
    site = Site()

    async def ask():
        clock.now += 1.0
        return [waiting(1), waiting(2, decides=True)]

    async def cannot_say():
        return None

    await site.turns.look(ask, cannot_say)
    await site.turns.announce()
    clock.now += 1.5
    await site.turns.look(ask, cannot_say)
    assert {each.flow_run.id.int for each in await site.turns.take(site.still_scheduled)} == {1, 2}


async def test_news_are_kept_when_the_api_does_not_answer():
    turns = Site().turns

    async def ask():
        raise ConnectionError

    await turns.look(Site().ask, Site().ask_for_decisions)
    await turns.announce()
    with pytest.raises(ConnectionError):
        await turns.look(ask, ask)
    assert turns.is_look_due


async def test_many_announcements_are_one_look_and_a_place_that_is_free_is_given_away():
    site = Site()
    started = []

    async def take_runs():
        started.extend(await site.take())

    looking = asyncio.create_task(site.turns.keep_looking(take_runs))
    site.listed = [waiting(1, decides=True), waiting(2, decides=True)]
    for _ in range(200):
        await site.turns.announce()
    async with asyncio.timeout(60):
        while started != [1]:
            await asyncio.sleep(0)
        with site.turns.running(UUID(int=1), 2**22 + 1):
            site.end(1)
        while started != [1, 2]:
            await asyncio.sleep(0)
    assert site.looks == 1
    looking.cancel()


async def test_looking_outlives_faults(monkeypatch, caplog):
    monkeypatch.setattr(module, "UNASKED_S", 0.0)
    calls = []

    async def take_runs():
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("the API is away")

    looking = asyncio.create_task(Site().turns.keep_looking(take_runs))
    async with asyncio.timeout(60):
        while len(calls) < 2:
            await asyncio.sleep(0)
    assert caplog.text.count("the API is away") == 1
    looking.cancel()
