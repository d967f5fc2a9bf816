"""What is held keeps no place from others, and of two messages that say the same none is lost."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from flows.events.bridge import intake as intake_module
from flows.events.bridge.intake import MOST_HELD, Intake
from flows.events.bridge.journal import Journal
from flows.events.bridge.state import Tally
from tests.support.fake_channel import FakeChannel
from tests.support.recording_site import RecordingSite, submitted

PATIENCE_S = 20.0
JOBS = [{"recipes": ["job"], "parameters": {"ispyb_process": number}} for number in range(30)]


@pytest.fixture
def channel():
    return FakeChannel()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(intake_module, "PAUSES", intake_module.Pauses(first_s=0.02, longest_s=0.02))


@asynccontextmanager
async def taking(channel, home, site, journal=None):
    if journal is None:
        journal = Journal.of(home)
        journal.connected()
    intake = Intake(channel, "processing_recipe", site, journal, Tally(home))
    task = asyncio.create_task(intake.run())
    try:
        yield intake
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_thirty_jobs_that_can_not_be_judged_keep_no_other_from_being_taken(channel, tmp_path):
    (tmp_path / "away").touch()
    await channel.put(*JOBS, {"recipes": ["a"], "parameters": {}})
    async with taking(channel, tmp_path, RecordingSite(tmp_path)) as intake:
        await until(lambda: any(recipes == ["a"] for _, recipes, _, _ in submitted(tmp_path)))
        assert intake.held == MOST_HELD
        (tmp_path / "away").unlink()
        await until(lambda: all(message.settled == "acked" for message in channel.messages))
    numbers = [parameters["ispyb_process"] for _, recipes, parameters, _ in submitted(tmp_path) if recipes == ["job"]]
    assert sorted(numbers) == list(range(30))
    assert list((tmp_path / "bridge" / "journal").iterdir()) == []


async def test_jobs_that_are_handed_over_keep_the_order_of_their_collection(channel, tmp_path):
    (tmp_path / "away").touch()
    jobs = [{"recipes": ["job"], "parameters": {"ispyb_dcid": 1, "n": number}} for number in range(12)]
    await channel.put(*jobs)
    async with taking(channel, tmp_path, RecordingSite(tmp_path)):
        await until(lambda: len(submitted(tmp_path)) == 12 - MOST_HELD)
        (tmp_path / "away").unlink()
        await until(lambda: len(submitted(tmp_path)) == 12)
    assert [parameters["n"] for _, _, parameters, _ in submitted(tmp_path)] == list(range(12))


class SlowSite(RecordingSite):
    """Takes its time with a request, until it's let."""

    def __init__(self, home):
        super().__init__(home)
        self.let = asyncio.Event()

    async def submit(self, request, headers, mark):
        await self.let.wait()
        return await super().submit(request, headers, mark)


async def test_of_two_of_the_same_content_the_second_is_run_though_the_first_is_not_forgotten(
    channel, tmp_path, monkeypatch
):
    """The bridge is killed when the broker has heard that the first is taken, and the journal hasn't forgotten it."""
    twice = [{"recipes": ["a"], "parameters": {}}] * 2
    await channel.put(*twice)
    site, journal = SlowSite(tmp_path), Journal.of(tmp_path)
    killed = asyncio.Event()

    async def forget(_):
        killed.set()
        await asyncio.Event().wait()

    async with taking(channel, tmp_path, site, journal) as intake:
        monkeypatch.setattr(intake, "_forget", forget)
        await until(lambda: len(list(journal.folder.iterdir())) == 2)
        site.let.set()
        await until(killed.is_set)
    assert [message.settled for message in channel.messages] == ["acked", ""]
    after = FakeChannel()
    await after.put(twice[1], redelivered=True)
    async with taking(after, tmp_path, RecordingSite(tmp_path)):
        await until(lambda: after.messages[0].settled)
    assert len({mark for mark, *_ in submitted(tmp_path)}) == 2
