"""What Prefect is told of a run of Mimas."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

from flows.mimas.record import publishing
from flows.mimas.scenario import DCClass, Event, Scenario
from flows.recipe.run import with_dcid


async def test_a_beamline_of_any_length_gives_a_name_that_the_databases_index_takes(monkeypatch):
    told = {}

    @asynccontextmanager
    async def get_client():
        async def update_flow_run(run_id, **values):
            told.update(values)

        yield SimpleNamespace(update_flow_run=update_flow_run)

    monkeypatch.setattr(publishing, "get_client", get_client)
    scenario = Scenario(12, DCClass.ROTATION, Event.END, "i03\n" * 20_000, visit="cm1-1" * 20_000)
    await publishing.label_run(SimpleNamespace(id=1, tags=["first"]), scenario)
    assert told["name"].startswith("mimas end · dcid 12 · i03 ")
    assert told["tags"][0] == "first"
    assert all(len(text) < 300 and text.isprintable() for text in (told["name"], *told["tags"]))


def test_recipe_runs_are_called_by_short_names_too():
    assert with_dcid("archive-cbfs", 12) == "archive-cbfs · dcid 12"
    assert len(with_dcid("archive-cbfs", "9" * 20_000)) < 300
