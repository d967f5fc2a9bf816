"""Automations of the files: each runs a deployment for each event of a kind that Prefect's API is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from flows.deploying.change import Change
from flows.deploying.files import OURS
from flows.deploying.planned import PlannedAutomation, PlannedDeployment

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore

_COMPARED: Final = ("description", "tags", "trigger", "actions")


async def apply_automations(
    client: PrefectClient, deployed: Mapping[UUID, PlannedDeployment], refused: Sequence[PlannedDeployment]
) -> list[Change]:
    """Create, update and remove automations, so that those with our tag are those of the files.

    Parameters
    ----------
    deployed
        By the deployment's id.
    refused
        What couldn't be deployed keeps the automations that it had.
    """
    present = await _present(client)
    changes, kept = [], {automation.name for planned in refused for automation in planned.automations}
    for deployment, planned in deployed.items():
        for automation in planned.automations:
            kept.add(automation.name)
            if faults := automation_faults(automation, planned.load_flow().parameters.properties):
                changes.append(Change(f"automation {automation.name}", "refused", "; ".join(faults)))
                continue
            changes.append(await _apply(client, automation, deployment, present[automation.name][:1]))
    for name, automations in present.items():
        # More than one if two deployed at the same time
        for extra in automations if name not in kept else automations[1:]:
            await _delete(client, extra.id)
            changes.append(Change(f"automation {name}", "removed"))
    return changes


def automation_faults(automation: PlannedAutomation, known: Collection[str]) -> list[str]:
    """Resolve an automation's parameters and parse their templates, as Prefect's server does when it's made.

    Parameters
    ----------
    known
        Names of its flow's parameters.
    """
    from prefect.utilities.schema_tools.hydration import HydrationContext, HydrationError, hydrate

    unknown = sorted(automation.parameters.keys() - set(known))
    faults = [f"sets unknown parameters: {', '.join(unknown)}"] if unknown else []
    for name, template in automation.parameters.items():
        try:
            hydrate({name: template}, HydrationContext(raise_on_error=True))
        except HydrationError as error:
            faults.append(f"has no template for {name}: {error.message}")
    return faults


async def _present(client: PrefectClient) -> defaultdict[str, list[Automation]]:
    from prefect.events.filters import AutomationFilter, AutomationFilterTags

    ours = AutomationFilter(tags=AutomationFilterTags(all_=[OURS]))
    found: list[Automation] = []
    while page := await client.read_automations(automations=ours, limit=200, offset=len(found)):
        found += page
    by_name = defaultdict(list)
    for automation in sorted(found, key=lambda automation: automation.id):  # two who deploy keep the same one
        by_name[automation.name].append(automation)
    return by_name


async def _apply(
    client: PrefectClient, planned: PlannedAutomation, deployment: UUID, present: list[Automation]
) -> Change:
    name, wanted = f"automation {planned.name}", _wanted(planned, deployment)
    if not present:
        # Prefect removes it with its owner
        await client.create_automation(wanted.model_copy(update={"owner_resource": f"prefect.deployment.{deployment}"}))
        return Change(name, "created")
    (before,) = present
    differing = [key for key in _COMPARED if _value(before, key) != _value(wanted, key)]
    if not differing:
        return Change(name, "unchanged")
    # One that an operator has switched off stays so
    await client.update_automation(before.id, wanted.model_copy(update={"enabled": before.enabled}))
    return Change(name, "updated", ", ".join(differing))


def _value(automation: AutomationCore, key: str) -> Any:
    return automation.model_dump(mode="json", include={key})[key]


def _wanted(planned: PlannedAutomation, deployment: UUID) -> AutomationCore:
    from datetime import timedelta

    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=planned.name,
        description=planned.description,
        enabled=planned.enabled,
        tags=[OURS],
        trigger=EventTrigger(
            type="event",
            expect=set(planned.expect),
            match=ResourceSpecification(planned.match),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                type="run-deployment",  # Prefect's client leaves out what isn't set when it updates one
                source="selected",
                deployment_id=deployment,
                parameters=planned.parameters,
            )
        ],
    )


async def _delete(client: PrefectClient, automation: UUID) -> None:
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound):  # somebody else deploys at the same time
        await client.delete_automation(automation)
