"""Ends of runs with their site are counted apart from deaths."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed, Running

from flows.warm_pool.planned_ends import LABEL, deaths, note_planned_ends, planned_ends


class Api:
    """Prefect's, as far as runs have labels."""

    def __init__(self, *runs):
        self.runs = {run.id: run for run in runs}

    async def read_flow_runs(self, flow_run_filter):
        return [self.runs[each] for each in flow_run_filter.id.any_ if each in self.runs]

    async def update_flow_run_labels(self, run, labels):
        self.runs[run].labels = {**self.runs[run].labels, **labels}


def a_run(number=1):
    return FlowRun(id=UUID(int=number), flow_id=UUID(int=9), name="archive", labels={"prefect.worker.name": "warm"})


async def test_ends_with_the_site_are_no_deaths():
    run, untouched, states = a_run(), a_run(2), []
    api = Api(run, untouched)
    for _ in range(7):
        states += [Running(), Crashed()]
        await note_planned_ends(api, {run.id, UUID(int=3)}, 5)
    assert (planned_ends(run), deaths(run, states)) == (7, 0)
    assert deaths(run, [*states, Running(), Crashed()]) == 1
    assert LABEL not in untouched.labels
    assert run.labels["prefect.worker.name"] == "warm"


async def test_an_end_that_did_not_come_to_a_crash_is_no_credit_below_zero():
    run = a_run()
    await note_planned_ends(Api(run), {run.id}, 5)
    assert deaths(run, []) == 0


@pytest.mark.parametrize("fault", [httpx.ConnectError("refused"), None], ids=["away", "slow"])
async def test_runs_end_without_the_api_too(fault, caplog):
    class Away:
        async def read_flow_runs(self, **_):
            if fault:
                raise fault
            await asyncio.sleep(60)

    with caplog.at_level(logging.WARNING):
        await note_planned_ends(Away(), {UUID(int=1)}, 0.05)
    assert "counts against them" in caplog.text
