"""What steps ask of the world is asked through their resources, and tests answer for it."""

from collections.abc import Iterable

import pytest

from blocks.errors import ConfigurationError, MessageRefused
from blocks.settings import Settings
from flows.resources import SiteResources
from tasks.step import FailedLaunch, Launch, Message, Send, StepContext, StepParameters, message_step
from tasks.step.ports import ClusterJobState
from tasks.step.runner import try_step
from tests.support.fake_resources import FakeLauncher, FakeResources


class ReprocessParameters(StepParameters):
    recipe: str


@message_step(queue="reprocess", parameters=ReprocessParameters)
async def reprocess(parameters: ReprocessParameters, message: Message, context: StepContext) -> Iterable[Send]:
    launch = Launch(parameters.recipe, message.payload, {}, context.key(message), "again")
    (launched,) = await context.resources.launcher.launch([launch])
    if isinstance(launched, FailedLaunch):
        raise MessageRefused(launched.reason)
    return [Send(str(launched.flow_run_id))]


async def test_a_step_starts_recipe_runs_through_its_resources_each_once():
    launcher = FakeLauncher(["autoprocessing"])
    node = {"parameters": {"recipe": "autoprocessing"}}
    first = await try_step(reprocess, node, [12, 13], FakeResources(launcher=launcher), recipe_run="run-1")
    again = await try_step(reprocess, node, [12], FakeResources(launcher=launcher), recipe_run="run-1")
    assert [launch.dcid for launch in launcher.launched] == [12, 13]
    assert [send.payload for send in again.sent] == [send.payload for send in first.sent][:1]


async def test_a_launch_with_prefect_away_is_a_fault_after_which_the_message_is_tried_again():
    launcher = FakeLauncher(["autoprocessing"], outages={"autoprocessing": 1})
    node = {"parameters": {"recipe": "autoprocessing"}}
    outcome = await try_step(reprocess, node, [12], FakeResources(launcher=launcher), recipe_run="run-1")
    assert [reprocess.retries.may_pass(error) for _, error in outcome.refused] == [True]


async def test_the_same_key_is_another_run_of_another_recipe():
    launcher = FakeLauncher(["autoprocessing", "archive"])
    launches = [Launch(recipe, 12, {}, "run-1-message-0", "again") for recipe in ("autoprocessing", "archive")]
    first, second = await launcher.launch(launches)
    assert first.flow_run_id != second.flow_run_id
    assert launcher.launched == launches


async def test_a_recipe_that_is_not_there_is_said_to_the_step():
    outcome = await try_step(reprocess, {"parameters": {"recipe": "none"}}, [12], FakeResources())
    assert [str(error) for _, error in outcome.refused] == ["it isn't deployed"]


async def test_a_site_without_a_cluster_says_so(tmp_path):
    async with SiteResources(Settings(home=tmp_path)) as resources:
        with pytest.raises(ConfigurationError, match="this site has no cluster"):
            resources.cluster.status("7")


def test_a_job_on_a_cluster_has_ended_unless_it_waits_or_runs():
    under_way = {state for state in ClusterJobState if not state.is_final}
    assert under_way == {ClusterJobState.PENDING, ClusterJobState.RUNNING}
