"""What is done with a run that somebody wants taken up, by its state; and which run is meant."""

import json

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Late,
    Paused,
    Pending,
    Running,
    Scheduled,
    State,
    Suspended,
)

from blocks.errors import PrefectUnavailable, UnknownRecipeRun
from flows.recipe import resume
from flows.recipe.resume import Answer, answer_to, find_flow_run
from flows.recipe.run_record.recipe_ids import note_recipe_id, recipe_id_of

SUBMITTING = State(type="PENDING", name="Submitting")
ONE, OTHER = "0b1c2d3e-0000-4000-8000-000000000001", "0b1c2d3e-1111-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("state", "has_process", "is_work_left", "answer"),
    [
        (None, False, False, Answer.STARTED),
        (Scheduled(), False, False, Answer.SCHEDULED),
        (AwaitingRetry(), False, True, Answer.SCHEDULED),
        (Late(), False, False, Answer.LATE),
        (Pending(), True, False, Answer.AT_WORK),
        (Pending(), False, False, Answer.STARTED),
        (SUBMITTING, True, False, Answer.AT_WORK),
        (SUBMITTING, False, False, Answer.STARTED),
        (Running(), True, True, Answer.AT_WORK),
        (Running(), False, True, Answer.STARTED),
        (Paused(), True, False, Answer.RESUMED),
        (Paused(), False, False, Answer.STARTED),
        (Suspended(), False, False, Answer.RESUMED),
        (Cancelling(), True, False, Answer.BEING_CANCELLED),
        (Cancelling(), False, False, Answer.STARTED),
        (Cancelled(), False, True, Answer.STARTED),
        (Crashed(), False, False, Answer.STARTED),
        (Crashed(), True, True, Answer.AT_WORK),  # the UI's Retry was quicker, or its worker reported too soon
        (Failed(), False, False, Answer.STARTED),
        (Completed(), False, True, Answer.STARTED),
        (Completed(), False, False, Answer.DONE),
        # a second operator can't see the site's processes
        (Pending(), None, False, Answer.UNSEEN),
        (Running(), None, True, Answer.UNSEEN),
        (Cancelling(), None, False, Answer.BEING_CANCELLED),
        (Paused(), None, True, Answer.RESUMED),
        (Scheduled(), None, False, Answer.SCHEDULED),
        (Late(), None, False, Answer.LATE),
        (Failed(), None, True, Answer.STARTED),
        (Crashed(), None, True, Answer.STARTED),
        (Cancelled(), None, True, Answer.STARTED),
        (Completed(), None, True, Answer.STARTED),
        (Completed(), None, False, Answer.DONE),
    ],
)
def test_each_state_has_its_answer(state, has_process, is_work_left, answer):
    assert answer_to(state, has_process=has_process, is_work_left=is_work_left) is answer


@pytest.fixture
def prefect_knows(monkeypatch):
    """Have Prefect know runs of these ids and no others, or not answer."""

    def prefect_knows(*ids, status=200, tags=()):
        runs = [{"id": id_, "flow_id": OTHER, "name": "a run", "tags": [*tags]} for id_ in ids]

        def answer(request: httpx.Request) -> httpx.Response:
            if "csrf-token" in request.url.path:
                return httpx.Response(422, json={"detail": "CSRF protection is disabled."})
            wanted = (json.loads(request.content or b"{}").get("flow_runs") or {}).get("tags", {}).get("all_", [])
            found = [run for run in runs if set(wanted) <= set(run["tags"])]
            if request.url.path.endswith("filter"):
                return httpx.Response(200 if status == 404 else status, json=found)
            return httpx.Response(status, json={"detail": "none"})

        def client():
            return PrefectClient("http://127.0.0.1/api", httpx_settings={"transport": httpx.MockTransport(answer)})

        monkeypatch.setattr(resume, "get_client", client)

    return prefect_knows


def make_folder(home, run):
    (home / "recipe-runs" / run).mkdir(parents=True)


async def test_a_run_without_a_folder_is_found_by_the_start_of_its_id(home, prefect_knows):
    prefect_knows(ONE, OTHER)
    assert (await find_flow_run("0B1C2D3E-1")).recipe_run == OTHER


@pytest.mark.parametrize("guid", ["a-guid", "1b1c2d3e-0000-4000-8000-000000000001", "ä/ö"])
async def test_a_run_that_has_not_begun_is_found_by_its_recipe_id(home, prefect_knows, guid):
    prefect_knows(ONE, tags=[f"guid:{guid}"])
    assert (await find_flow_run(guid)).recipe_run == ONE


async def test_a_run_that_has_begun_is_found_by_its_recipe_id_although_that_looks_like_a_run_s(home, prefect_knows):
    make_folder(home, ONE)
    note_recipe_id(recipe_id_of({"guid": OTHER}, ONE), ONE)
    prefect_knows(ONE)
    assert (await find_flow_run(OTHER)).recipe_run == ONE


async def test_a_run_that_prefect_has_forgotten_is_found_by_its_folder(home, prefect_knows):
    make_folder(home, ONE)
    prefect_knows()
    assert (await find_flow_run(ONE[:9])).recipe_run == ONE


async def test_a_start_that_several_runs_have_names_them(home, prefect_knows):
    make_folder(home, ONE)
    prefect_knows(ONE, OTHER)
    with pytest.raises(UnknownRecipeRun, match=f"2 flow runs are called '0b1c' or so, {ONE}, {OTHER}: say which"):
        await find_flow_run("0b1c")


@pytest.mark.parametrize("name", ["ffff", "", "no-such-run", "*", "../0b1c", "0b1c*", "0b1c%"])
async def test_what_names_no_run_is_said_to_be_none(home, prefect_knows, name):
    make_folder(home, ONE)
    prefect_knows(ONE)
    with pytest.raises(UnknownRecipeRun, match="expected its id or its recipe ID"):
        await find_flow_run(name)


async def test_a_server_that_fails_is_no_reason_to_say_that_there_is_no_such_run(home, prefect_knows):
    prefect_knows(status=500)
    with pytest.raises(PrefectUnavailable, match="plaza status"):
        await find_flow_run("0b1c")


async def test_a_run_of_another_site_is_said_to_be_unknown_here(home, prefect_knows):
    prefect_knows(status=404)
    with pytest.raises(UnknownRecipeRun, match=r"Prefect has no flow run .* another site's"):
        await resume.schedule_again(await find_flow_run(ONE))
