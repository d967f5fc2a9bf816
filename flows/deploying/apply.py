"""Apply the deployments to a running site: work pools, queues, and a deployment for all that the files ask for.

    python -m flows.deploying.apply [--deployments FOLDER]

is what `plaza up` runs; it waits for the API.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from blocks.errors import ConfigurationError
from blocks.settings import CHECKOUT, Settings, get_settings
from flows.deploying.automations import apply_automations
from flows.deploying.change import Change
from flows.deploying.files import OURS, WorkPool, read_deployment_files
from flows.deploying.planned import PlannedDeployment
from flows.deploying.schedules import schedules_differ, schedules_to_apply

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

DEPLOYMENTS = CHECKOUT / "deployments"


def deploy(settings: Settings | None = None, deployments: Path = DEPLOYMENTS) -> list[Change]:
    """Make the site's deployments those of the files.

    Deployments of files that went away are removed if they carry our tag. A file that can't be used is refused; it
    keeps the deployment that it had.

    Raises
    ------
    ConfigurationError
        `prefect.yaml` or `work_pools.yaml` can't be used.
    """
    return asyncio.run(_deploy(settings or get_settings(), deployments))


async def _deploy(settings: Settings, deployments: Path) -> list[Change]:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    files = read_deployment_files(deployments, settings.recipe_directory)
    async with get_client() as client:
        for pool in files.pools:
            await _apply_pool(client, pool)
        present = await _present(client)
        changes: list[Change] = []
        deployed: dict[UUID, PlannedDeployment] = {}
        refused: list[PlannedDeployment] = []
        for planned in files.deployments:
            try:
                change, deployment = await _apply(client, planned, present)
            except ConfigurationError as error:
                change = Change(_name_of_unloadable(planned, present), "refused", str(error))
                refused.append(planned)
            else:
                deployed[deployment] = planned
            changes.append(change)
        kept = {change.name for change in changes}
        for name, known in present.items():
            if name not in kept and OURS in known.tags:
                with suppress(ObjectNotFound):  # somebody else deploys at the same time
                    await client.delete_deployment(known.id)
                changes.append(Change(name, "removed"))
        return changes + await apply_automations(client, deployed, refused)


async def _apply_pool(client: PrefectClient, pool: WorkPool) -> None:
    """Create or update a work pool and its queues; limits that operators have set stay.

    Somebody else may do the same at the same time.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.base import BaseWorker

    worker = BaseWorker.get_worker_class_from_type(pool.type)
    if worker is None:
        raise ConfigurationError(
            f"work pool {pool.name!r} has type {pool.type!r}; known are: "
            f"{', '.join(sorted(BaseWorker.get_all_available_worker_types()))}"
        )
    template = worker.get_default_base_job_template()
    try:
        await client.read_work_pool(pool.name)
    except ObjectNotFound:
        wanted = WorkPoolCreate(
            name=pool.name, type=pool.type, description=pool.description, base_job_template=template
        )
        with suppress(ObjectAlreadyExists):  # since it was asked for
            await client.create_work_pool(wanted)
    else:
        await client.update_work_pool(
            pool.name, WorkPoolUpdate(description=pool.description, base_job_template=template)
        )
    present = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool.name)}
    for queue in pool.queues:
        if queue.name not in present:
            with suppress(ObjectAlreadyExists):
                await client.create_work_queue(
                    name=queue.name, work_pool_name=pool.name, priority=queue.priority, description=queue.description
                )
        elif present[queue.name].priority != queue.priority:
            await client.update_work_queue(present[queue.name].id, priority=queue.priority)


async def _present(client: PrefectClient) -> dict[str, DeploymentResponse]:
    """Return all deployments of the site by name."""
    found: list[DeploymentResponse] = []
    while page := await client.read_deployments(limit=200, offset=len(found)):  # Prefect gives no more at once
        found += page
    flows: dict[Any, str] = {}
    for deployment in found:
        if deployment.flow_id not in flows:
            flows[deployment.flow_id] = (await client.read_flow(deployment.flow_id)).name
    return {f"{flows[deployment.flow_id]}/{deployment.name}": deployment for deployment in found}


async def _apply(
    client: PrefectClient, planned: PlannedDeployment, present: dict[str, DeploymentResponse]
) -> tuple[Change, UUID]:
    """Create or update a deployment unless it's as it's wanted; return its id, too."""
    flow = planned.load_flow()
    name = f"{flow.name}/{planned.name}"
    wanted: dict[str, Any] = {
        "entrypoint": planned.entrypoint,
        "work_pool_name": planned.work_pool,
        "work_queue_name": planned.work_queue,
        "description": planned.description or flow.description,
        "version": planned.version or flow.version,
        "tags": list(planned.tags),
        "parameters": planned.parameters,
        "job_variables": planned.job_variables,
        "parameter_openapi_schema": flow.parameters.model_dump_for_openapi(),
        "pull_steps": [],  # the code is installed; without such steps a run begins 0.15 s sooner
        "enforce_parameter_schema": True,  # so Prefect refuses what is no dcid before there is a run of it
    }
    before = present.get(name)
    differing = [key for key, value in wanted.items() if before is None or _value(before, key) != value]
    schedules = [] if before is None else before.schedules
    if schedules_differ(planned.schedules, schedules):
        differing.append("schedules")
    if before is not None and not differing:
        return Change(name, "unchanged"), before.id
    flow_id = await client.create_flow_from_name(flow.name)
    deployment = await client.create_deployment(  # updates one that's there
        flow_id, planned.name, schedules=schedules_to_apply(planned.schedules, schedules), **wanted
    )
    change = Change(name, "created") if before is None else Change(name, "updated", ", ".join(differing))
    return change, deployment


def _value(deployment: DeploymentResponse, key: str) -> Any:
    value = getattr(deployment, key)
    return [] if key == "pull_steps" and value is None else value


def _name_of_unloadable(planned: PlannedDeployment, present: dict[str, DeploymentResponse]) -> str:
    """Return the name of the deployment that has this entrypoint now, else what tells the reader most."""
    for name, deployment in present.items():
        if deployment.entrypoint == planned.entrypoint and deployment.name == planned.name:
            return name
    return f"{planned.entrypoint}/{planned.name}"


def main(deployments: Path) -> int:
    """Deploy as soon as the API answers, and print what changed."""
    from flows.site.draining import open_after_drains
    from flows.site.worker_service import wait_for_api

    asyncio.run(wait_for_api())
    try:
        changes = deploy(deployments=deployments)
    except ConfigurationError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    if asyncio.run(open_after_drains(get_settings().home)):
        sys.stdout.write("the work pool, which a `plaza down --drain` that was killed had paused, is open again\n")
    shown = [change for change in changes if change.what != "unchanged"]
    sys.stdout.writelines(f"{change}\n" for change in shown)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Apply the deployments")
    parser.add_argument("--deployments", type=Path, default=DEPLOYMENTS)
    raise SystemExit(main(parser.parse_args().deployments))
