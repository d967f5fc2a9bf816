"""Show a decision in Prefect: on the flow run's label and as its artifact, from which programs read it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import get_client
from prefect.artifacts import MarkdownArtifact
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterTags,
)
from prefect.client.schemas.sorting import ArtifactSort

from blocks.identifiers import Dcid
from flows.mimas.record.decision_record import DecisionRecord
from flows.mimas.record.outcome import ARTIFACT_KEY, EventName, MimasOutcome
from flows.mimas.record.outcome_page import from_markdown, to_markdown
from flows.mimas.scenario import Scenario
from flows.prefect_limits import run_name
from flows.prefect_outages import through_outages
from flows.run_artifacts import RunArtifact
from flows.run_marks import collection_tags, guid_tag

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


def tags(scenario: Scenario) -> list[str]:
    """Return the tags by which all runs for a data collection are found in the UI."""
    return collection_tags(scenario.dcid, scenario.beamline, scenario.visit)


async def label_run(run: FlowRun, scenario: Scenario, guid: str | None = None) -> None:
    """Add what ISPyB told to the flow run's name and tags.

    Parameters
    ----------
    guid
        The recipe ID that the event brought.

    Raises
    ------
    PrefectUnavailable
        Prefect's API has been away for minutes.
    """
    name = run_name(f"mimas {scenario.event.value} · dcid {scenario.dcid} · {scenario.beamline}")

    named = [] if guid is None else [guid_tag(guid)]
    labels = [*dict.fromkeys([*run.tags, *tags(scenario), *named])]

    async def label() -> None:
        async with get_client() as client:
            await client.update_flow_run(run.id, name=name, tags=labels)

    await through_outages("naming the run", label)


async def publish(outcome: MimasOutcome, record: DecisionRecord) -> None:
    """Keep the outcome as the artifact `mimas-decision` of the current flow run.

    Raises
    ------
    PrefectUnavailable
        Prefect's API has been away for minutes.
    """
    description = f"What runs at the {outcome.event} of data collection {outcome.dcid}, and why"
    artifact = RunArtifact(
        ARTIFACT_KEY, lambda page: MarkdownArtifact(key=ARTIFACT_KEY, description=description, markdown=page)
    )
    page = to_markdown(outcome, record)
    await through_outages("publishing the decision", lambda: artifact.show(page))


async def read_outcome(dcid: Dcid, event: EventName) -> MimasOutcome | None:
    """Read the newest outcome of an event back; None if Mimas hasn't decided on it."""
    pages = await _outcomes(FlowRunFilter(tags=FlowRunFilterTags(all_=collection_tags(dcid, None, None))))
    return next((outcome for outcome in pages if (outcome.dcid, outcome.event) == (dcid, event)), None)


async def read_outcome_of_run(flow_run_id: UUID) -> MimasOutcome | None:
    """Read the outcome of a run of Mimas back; None if it hasn't decided (yet)."""
    return next(iter(await _outcomes(FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))), None)


async def _outcomes(runs: FlowRunFilter) -> Sequence[MimasOutcome]:
    """Return the outcomes of flow runs, the one first that was written last: a run that is retried changes its own."""
    async with get_client() as client:
        artifacts = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[ARTIFACT_KEY])),
            flow_run_filter=runs,
            sort=ArtifactSort.UPDATED_DESC,
        )
    return [from_markdown(str(artifact.data)) for artifact in artifacts]
