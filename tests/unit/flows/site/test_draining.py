"""While a site drains its work pool is paused, its worker stops when nothing runs, and the pool is then as before."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest

from blocks.errors import PrefectUnavailable
from flows.site import draining
from flows.site.running_site import STOPPING_FILE
from flows.site.supervision import SiteGoesDown


class Site:
    """A site's API and supervisor: `under_way` are the counts of runs that it gives, the last one for ever."""

    def __init__(self, home):
        self.home, self.is_paused, self.under_way, self.seen = home, False, [0], []

    async def read_work_pool(self, name):
        return SimpleNamespace(is_paused=self.is_paused)

    async def update_work_pool(self, name, update):
        self.is_paused = update.is_paused

    async def read_flow_runs(self, **_):
        assert self.is_paused
        return [None] * (self.under_way.pop(0) if len(self.under_way) > 1 else self.under_way[0])

    def stop(self, service):
        self.seen.append((service, self.is_paused, (self.home / STOPPING_FILE).exists()))


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = Site(tmp_path)
    (tmp_path / "run").mkdir()

    @asynccontextmanager
    async def client():
        yield site

    monkeypatch.setattr(draining, "get_client", client)
    monkeypatch.setattr(draining, "Supervisor", lambda home: site)
    monkeypatch.setattr(draining, "POLL_S", 0.01)
    return site


STOPPED_WHILE_PAUSED = [("worker", True, True)]


async def test_the_runs_under_way_are_waited_for(site):
    site.under_way, told = [3, 3, 1, 0], []
    assert await draining.drain(site.home, 60, told.append) == 0
    assert (told, site.seen, site.is_paused) == ([3, 1], STOPPED_WHILE_PAUSED, False)
    assert not (site.home / STOPPING_FILE).exists()


async def test_what_does_not_end_in_time_is_ended_with_the_worker(site):
    site.under_way = [2]
    assert await draining.drain(site.home, 0.05, lambda _: None) == 2
    assert (site.seen, site.is_paused) == (STOPPED_WHILE_PAUSED, False)


async def test_a_pool_that_somebody_has_paused_stays_so(site):
    site.is_paused = True
    await draining.drain(site.home, 60, lambda _: None)
    assert site.is_paused


async def test_interrupted_the_site_goes_on(site):
    site.under_way = [1]
    waiting = asyncio.create_task(draining.drain(site.home, 60, lambda _: None))
    while not site.is_paused:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (site.seen, site.is_paused) == ([], False)


async def test_two_at_once_wait_each_for_as_long_as_it_may_and_the_last_opens_the_pool(site):
    site.under_way = [1]
    longer = asyncio.create_task(draining.drain(site.home, 60, lambda _: None))
    while not site.is_paused:
        await asyncio.sleep(0)
    assert await draining.drain(site.home, 0.05, lambda _: None) == 1
    assert site.is_paused
    assert not await draining.open_after_drains(site.home)  # one goes on
    site.under_way = [0]
    await longer
    assert (site.seen, site.is_paused) == (STOPPED_WHILE_PAUSED * 2, False)


async def test_a_pool_that_a_killed_drain_has_left_paused_is_opened_and_no_other(site):
    (site.home / draining.DRAINING_FILE).write_text("paused")  # its lock went with the process
    site.is_paused = True
    assert await draining.open_after_drains(site.home)
    assert not site.is_paused
    site.is_paused = True
    assert not await draining.open_after_drains(site.home)
    assert site.is_paused


async def test_a_drain_that_was_killed_is_none_of_a_persons_pauses(site):
    (site.home / draining.DRAINING_FILE).write_text("paused")
    site.is_paused = True
    await draining.drain(site.home, 60, lambda _: None)
    assert not site.is_paused


async def test_a_site_that_somebody_else_stops_meanwhile_is_on_its_way_down(site, monkeypatch):
    def goes_down(service):
        raise SiteGoesDown("the site goes down")

    monkeypatch.setattr(site, "stop", goes_down)
    assert await draining.drain(site.home, 60, lambda _: None) == 0
    assert not site.is_paused


async def test_without_the_api_it_is_said_that_it_is_away(site, monkeypatch):
    async def away(name):
        raise httpx.ConnectError("Connection refused")

    monkeypatch.setattr(site, "read_work_pool", away)
    with pytest.raises(PrefectUnavailable, match="doesn't answer"):
        await draining.drain(site.home, 60, lambda _: None)
