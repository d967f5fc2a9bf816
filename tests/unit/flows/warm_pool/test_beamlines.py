"""Beamlines of runs: what their parameters name is asked of ISPyB, which may be slow, away or wrong."""

from __future__ import annotations

import asyncio
import threading

import pytest

from blocks.errors import DatabaseUnavailable
from flows.warm_pool import beamlines
from flows.warm_pool.beamlines import Beamlines, dcid_of


@pytest.mark.parametrize(
    ("parameters", "dcid"),
    [
        ({"dcid": 7, "event": "end"}, 7),
        ({"dcid": "7"}, 7),
        ({"dcid": None, "parameters": {"ispyb_dcid": 8}}, 8),
        ({"parameters": {"ispyb_dcid": "8"}}, 8),
        ({"dcid": 0}, None),
        ({"dcid": -1}, None),
        ({"dcid": 2**80}, None),
        ({"dcid": "9" * 5000}, None),
        ({"dcid": True}, None),
        ({"dcid": 1.5}, None),
        ({"dcid": [7]}, None),
        ({"parameters": [1]}, None),
        ({}, None),
    ],
)
def test_data_collection_of_parameters(parameters, dcid):
    assert dcid_of(parameters) == dcid


async def test_each_data_collection_is_asked_for_once():
    asked = []

    def read(dcids):
        asked.append(dcids)
        return {1: "i03"}

    known = Beamlines(read)
    await known.look_up([1, 2, None])
    await known.look_up([2, 1])
    assert asked == [[1, 2]]
    assert (known.of(1), known.of(2), known.of(None)) == ("i03", "", "")


async def test_thousands_are_asked_for_in_pages():
    asked = []
    await Beamlines(lambda dcids: asked.append(len(dcids)) or {}).look_up(range(1, 1201))
    assert asked == [500, 500, 200]


@pytest.mark.parametrize("fault", [DatabaseUnavailable("it's away"), RuntimeError("a fault of ours")])
async def test_a_fault_is_told_once_and_waited_out(fault, caplog, monkeypatch):
    faults = [fault]

    def read(dcids):
        if faults:
            raise faults.pop()
        return {1: "i03"}

    known = Beamlines(read)
    await known.look_up([1])
    await known.look_up([1])
    assert known.of(1) == ""
    assert caplog.text.count("ISPyB doesn't say") == 1
    monkeypatch.setattr(beamlines, "PAUSE_S", 0.0)
    known._not_before = 0.0
    await known.look_up([1])
    assert known.of(1) == "i03"


async def test_an_answer_that_takes_long_is_used_when_it_comes(monkeypatch):
    monkeypatch.setattr(beamlines, "PATIENCE_S", 0.01)
    answer = threading.Event()
    asked = []

    def read(dcids):
        asked.append(dcids)
        answer.wait(60)
        return {1: "i03"}

    known = Beamlines(read)
    await known.look_up([1])
    await known.look_up([1])
    assert (known.of(1), asked) == ("", [[1]])
    answer.set()
    async with asyncio.timeout(60):
        while not known.of(1):
            await known.look_up([1])
    assert asked == [[1]]
