"""Whether all that the deployment files name is there: entrypoints, work pools, queues, blocks, the recipes' steps.

And whether Mimas can use all rules that the site has.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from blocks.errors import ConfigurationError
from flows.deploying.automations import automation_faults
from flows.deploying.files import DeploymentFiles, read_deployment_files
from flows.deploying.planned import PlannedDeployment
from flows.deploying.schedules import cron_schedule
from flows.mimas.rules import rules_in_force
from flows.recipe.check.placeholder_sources import PlaceholderSources
from flows.recipe.check.recipe import check_file, errors
from flows.recipe.language.names import SUFFIX

if TYPE_CHECKING:
    from prefect.blocks.core import Block

_BLOCK = re.compile(r"prefect\.blocks\.([\w-]+)\.([\w-]+)")


def find_problems(
    deployments: Path, recipes: Path, declared: Iterable[str] = (), beside: Executor | None = None
) -> list[str]:
    """Resolve every entrypoint, work pool, queue and block that the files name, and check the recipes; needs no server.

    Rules of Mimas that can't be used, or not wholly, are told, too.

    Parameters
    ----------
    declared
        Names of the placeholders that the runs' parameters will fill.
    beside
        Where recipes are checked meanwhile: they need what imports ISPyB's tables, the others Prefect, a second each.

    Returns
    -------
    list[str]
        What doesn't resolve, one line each.
    """
    try:
        files = read_deployment_files(deployments, recipes)
    except ConfigurationError as error:
        return [str(error)]
    of_recipes = beside.submit(_check_recipes, recipes, tuple(declared)) if beside else None
    rules = rules_in_force()
    of_rules = (*rules.faults, *rules.oddities)
    problems = [*_check_pools(files), *_check_flows(files), *_check_blocks(deployments), *of_rules]
    return problems + (of_recipes.result() if of_recipes else _check_recipes(recipes, declared))


def _check_recipes(recipes: Path, declared: Iterable[str]) -> list[str]:
    """Hold every recipe against the rules of the language and against its steps, as `plaza recipe check` does."""
    sources = PlaceholderSources(declared)
    return [
        f"{file}: {problem}"
        for file in sorted(recipes.glob(f"*{SUFFIX}"))
        for problem in errors(check_file(file, sources))
    ]


def _check_pools(files: DeploymentFiles) -> list[str]:
    from prefect.workers.base import BaseWorker

    known = BaseWorker.get_all_available_worker_types()
    problems = [
        f"work_pools.yaml: pool {pool.name!r} has type {pool.type!r}, known are: {', '.join(sorted(known))}"
        for pool in files.pools
        if pool.type not in known
    ]
    queues = {(pool.name, queue.name) for pool in files.pools for queue in pool.queues}
    queues |= {(pool.name, "default") for pool in files.pools}  # Prefect makes this one
    return problems + [
        f"{planned.source}: deployment {planned.name!r} names queue {planned.work_queue!r} of pool "
        f"{planned.work_pool!r}, which work_pools.yaml doesn't have"
        for planned in files.deployments
        if (planned.work_pool, planned.work_queue) not in queues
    ]


def _check_flows(files: DeploymentFiles) -> list[str]:
    problems = []
    # Recipes' flows differ by their files only, which are checked: one of them says whether there are any
    one_of_recipes = [planned for planned in files.of_recipes if planned.fault is None][:1]
    for planned in [*files.from_project, *one_of_recipes]:
        try:
            flow = planned.load_flow()
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        known = flow.parameters.properties.keys()
        unknown = sorted(planned.parameters.keys() - known)
        faults = [f"sets unknown parameters: {', '.join(unknown)}"] if unknown else []
        faults += _check_schedules(planned)
        for automation in planned.automations:
            faults += [f"automation {automation.name!r} {fault}" for fault in automation_faults(automation, known)]
        problems += [f"{planned.source}: {flow.name}/{planned.name} {fault}" for fault in faults]
    return problems


def _check_schedules(planned: PlannedDeployment) -> list[str]:
    problems = []
    for schedule in planned.schedules:
        try:
            cron_schedule(schedule)
        except ConfigurationError as error:
            problems.append(f"has no times to run: {error}")
    return problems


def _check_blocks(deployments: Path) -> list[str]:
    named = [
        (file, *block) for file in sorted(deployments.glob("*.yaml")) for block in _BLOCK.findall(file.read_text())
    ]
    if not named:  # the usual case, in which to import all of ours would take a second
        return []
    from prefect.blocks.core import Block

    import blocks

    for module in pkgutil.walk_packages(blocks.__path__, "blocks."):  # block types are known once their modules are
        importlib.import_module(module.name)
    known = {kind.get_block_type_slug() for kind in _subclasses(Block)}
    return [
        f"{file}: names block {slug}/{name}, but there is no block type {slug!r}; known are: {', '.join(sorted(known))}"
        for file, slug, name in named
        if slug not in known
    ]


def _subclasses(kind: type[Block]) -> Iterator[type[Block]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
