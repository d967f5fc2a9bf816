"""Per-image results as a stream: seen soon, and written by several at once without getting in each other's way."""

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import func, select

from flows.resources import SiteResources
from tasks.ispyb_access.schema.tables import METADATA
from tasks.ispyb_connector.image_batches import gather
from tasks.ispyb_connector.storing import store_in_ispyb
from tests.support.running_step import RunningStep, until

IMAGES = {"ispyb_command": "store_per_image_analysis_results", "dcid": 7}
TABLE = METADATA.tables["ImageQualityIndicators"]


def result(number):
    return {"file-number": number, "n_spots_total": number, "estimated_d_min": 2.5, "total_intensity": 1e4}


def seen(engine):
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(TABLE))


async def test_viewer_sees_each_image_within_a_second(resources, engine):
    """Images come singly, as during a scan. The quickest counts: others may have had to wait for the machine."""
    step = RunningStep(store_in_ispyb, IMAGES, resources)
    step.put(result(1))
    await until(lambda: seen(engine) == 1)  # by now the connection is made
    waits = []
    for number in range(2, 6):
        came = time.monotonic()
        step.put(result(number))
        await until(lambda number=number: seen(engine) == number)
        waits.append(time.monotonic() - came)
    await step.end()
    assert min(waits) < 1.0


async def test_four_writers_of_the_same_images_do_not_deadlock(engine, settings, caplog):
    """Each has its images in an order of its own; batches are sorted, so that they wait for each other."""
    caplog.set_level(logging.INFO, "tasks")
    order = random.Random(7)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(4):
            step = RunningStep(store_in_ispyb, IMAGES, await stack.enter_async_context(SiteResources(settings)))
            numbers = list(range(1, 5001))
            order.shuffle(numbers)
            step.put(*map(result, numbers))
            group.create_task(step.end())
    assert "waiting for ISPyB" not in caplog.text, "a deadlock (1213) would have been tried again"
    with engine.connect() as connection:
        rows = connection.execute(select(TABLE.c.imageNumber, TABLE.c.spotTotal).order_by(TABLE.c.imageNumber)).all()
    assert rows == [(number, number) for number in range(1, 5001)]


async def test_four_writers_of_data_collections_of_their_own(settings, engine):
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for dcid in range(1, 5):
            own = await stack.enter_async_context(SiteResources(settings))
            step = RunningStep(store_in_ispyb, IMAGES | {"dcid": dcid}, own)
            step.put(*map(result, range(1, 1001)))
            group.create_task(step.end())
    with engine.connect() as connection:
        found = connection.execute(
            select(TABLE.c.dataCollectionId, func.count(), func.sum(TABLE.c.spotTotal)).group_by(
                TABLE.c.dataCollectionId
            )
        ).all()
    assert [(dcid, images, int(spots)) for dcid, images, spots in found] == [(d, 1000, 500500) for d in range(1, 5)]


async def test_refused_images_among_many_cost_few_transactions(resources, engine, monkeypatch):
    """A batch that the database refuses is halved until only what is at fault is left."""
    written = []
    original = type(resources.ispyb_writer).write_images

    def write_images(self, results):
        written.append(len(results))
        if any(result.file_number == 137 for result in results):
            raise ValueError("not this one")
        original(self, results)

    monkeypatch.setattr(type(resources.ispyb_writer), "write_images", write_images)
    step = RunningStep(store_in_ispyb, IMAGES, resources)
    step.put(*map(result, range(1, 501)))
    await step.end()
    assert [message.payload["file-number"] for message, _ in step.refused] == [137]
    assert (seen(engine), len(step.sent)) == (499, 499)
    assert len(written) < 25


class TestGathering:
    async def test_batches_are_full_while_there_is_enough(self):
        async def inbox():
            for number in range(25):
                yield number

        assert [batch async for batch in gather(inbox(), 10, 5.0)] == [
            list(range(10)), list(range(10, 20)), list(range(20, 25)),
        ]  # fmt: skip

    async def test_what_comes_after_a_silence_goes_at_once_with_what_is_there(self):
        more = asyncio.Event()

        async def inbox():
            yield 1
            yield 2
            await more.wait()
            yield 3

        batches = gather(inbox(), 10, 3600.0)
        assert await anext(batches) == [1, 2]
        await batches.aclose()

    async def test_what_comes_soon_after_a_batch_goes_when_patience_ends(self):
        news: asyncio.Queue[int] = asyncio.Queue()

        async def inbox():
            while number := await news.get():
                yield number

        loop = asyncio.get_running_loop()
        batches = gather(inbox(), 10, 0.2)
        news.put_nowait(1)
        assert await anext(batches) == [1]
        began = loop.time()
        loop.call_later(0.01, news.put_nowait, 2)
        loop.call_later(0.02, news.put_nowait, 3)
        assert await anext(batches) == [2, 3]
        assert loop.time() - began > 0.15
        news.put_nowait(0)
        assert [batch async for batch in batches] == []

    async def test_nothing_gives_no_batch(self):
        async def inbox():
            return
            yield

        assert [batch async for batch in gather(inbox(), 10, 5.0)] == []

    async def test_inbox_is_held_back_while_a_batch_is_dealt_with(self):
        taken = []

        async def inbox():
            for number in range(100):
                taken.append(number)
                yield number

        batches = gather(inbox(), 10, 5.0)
        await anext(batches)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(taken) <= 22
        await batches.aclose()

    async def test_failure_of_the_inbox_comes_after_what_it_gave(self):
        async def inbox():
            yield 1
            raise RuntimeError("broken")

        batches = gather(inbox(), 10, 5.0)
        assert await anext(batches) == [1]
        with pytest.raises(RuntimeError, match="broken"):
            await anext(batches)

    async def test_ending_early_ends_the_inbox_too(self):
        ended = []

        async def inbox():
            try:
                while True:
                    yield 1
                    await asyncio.sleep(0)
            finally:
                ended.append(True)

        source = inbox()
        batches = gather(source, 2, 5.0)
        await anext(batches)
        await batches.aclose()
        await source.aclose()
        assert ended == [True]
