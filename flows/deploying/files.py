"""What is to be deployed, read from files: `prefect.yaml`, `work_pools.yaml` and a deployment for each recipe file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.errors import ConfigurationError, RecipeError
from blocks.validation_faults import describe
from flows.deploying.planned import PlannedAutomation, PlannedDeployment, PlannedSchedule
from flows.recipe.catalogue import entrypoint
from flows.recipe.language.files import read_text
from flows.recipe.language.names import SUFFIX, file_fault, recipe_name
from flows.recipe.language.validation import validated_recipe
from flows.recipe.run_record.manifest import digest_of
from flows.site.running_site import WORK_POOL

LIVE_QUEUE = "live"
OURS = "plaza"  # tag of every deployment that is made from our files, and may be removed with its file

_Model = TypeVar("_Model", bound=BaseModel)


class _Written(BaseModel):
    """Base of what a person writes: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkQueue(_Written):
    """A queue of a work pool; a lower priority number goes first."""

    name: str
    priority: int = Field(ge=1)
    description: str = ""


class WorkPool(_Written):
    """A work pool and its queues."""

    name: str
    type: str
    description: str = ""
    queues: tuple[WorkQueue, ...] = ()


class WorkPools(_Written):
    """The file `work_pools.yaml`."""

    pools: tuple[WorkPool, ...]


class _WorkPoolSection(_Written):
    name: str
    work_queue_name: str = "default"
    job_variables: dict[str, Any] = {}


class _Schedule(_Written):
    slug: str
    cron: str
    timezone: str = "UTC"
    active: bool = True


class _Trigger(_Written):
    """One that fires for each event: Prefect knows others."""

    type: Literal["event"] = "event"
    name: str
    description: str = ""
    enabled: bool = True
    expect: frozenset[str] = Field(min_length=1)
    match: dict[str, str] = Field(min_length=1)
    posture: Literal["Reactive"] = "Reactive"
    threshold: Literal[1] = 1
    parameters: dict[str, Any] = {}


class _Deployment(_Written):
    name: str
    entrypoint: str
    work_pool: _WorkPoolSection
    description: str | None = None
    version: str | None = None
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    schedules: tuple[_Schedule, ...] = ()
    triggers: tuple[_Trigger, ...] = ()


class _ProjectFile(_Written):
    """The part of Prefect's `prefect.yaml` that has a meaning here: code is installed, nothing is built or pulled."""

    name: str
    prefect_version: str | None = Field(None, alias="prefect-version")
    pull: tuple[()] = ()
    deployments: tuple[_Deployment, ...] = ()


@dataclass(frozen=True)
class DeploymentFiles:
    """All that the files ask for."""

    pools: tuple[WorkPool, ...]
    from_project: tuple[PlannedDeployment, ...]
    of_recipes: tuple[PlannedDeployment, ...]

    @property
    def deployments(self) -> tuple[PlannedDeployment, ...]:
        """All deployments."""
        return self.from_project + self.of_recipes


def read_deployment_files(deployments: Path, recipes: Path) -> DeploymentFiles:
    """Read what is to be deployed.

    Parameters
    ----------
    deployments
        Folder of `prefect.yaml` and `work_pools.yaml`.
    recipes
        Folder of the recipe files: `NAME.json` becomes deployment NAME/live.

    Raises
    ------
    ConfigurationError
        A file or the recipes' folder is missing, or a file has an unknown or unfit key.
    """
    if not recipes.is_dir():  # not "no recipes": all their deployments would be removed
        raise ConfigurationError(f"there is no folder {recipes} of recipe files: set PLAZA_RECIPE_DIRECTORY")
    pools = _read(deployments / "work_pools.yaml", WorkPools).pools
    file = deployments / "prefect.yaml"
    from_project = tuple(
        PlannedDeployment(
            source=file,
            name=written.name,
            entrypoint=written.entrypoint,
            work_pool=written.work_pool.name,
            work_queue=written.work_pool.work_queue_name,
            description=written.description,
            version=written.version,
            tags=(OURS, *written.tags),
            parameters=written.parameters,
            job_variables=written.work_pool.job_variables,
            schedules=tuple(PlannedSchedule(**schedule.model_dump()) for schedule in written.schedules),
            automations=tuple(
                PlannedAutomation(**trigger.model_dump(exclude={"type", "posture", "threshold"}))
                for trigger in written.triggers
            ),
        )
        for written in _read(file, _ProjectFile).deployments
    )
    of_recipes = tuple(_of_recipe(file) for file in sorted(recipes.glob(f"*{SUFFIX}")))
    return DeploymentFiles(pools, from_project, of_recipes)


def _of_recipe(file: Path) -> PlannedDeployment:
    fault, version = file_fault(file), None
    if fault is None:
        try:
            text = read_text(file)
            validated_recipe(text, file)
            version = digest_of(text)[:12]
        except RecipeError as error:
            fault = str(error).removeprefix(f"{file}: ")
    return PlannedDeployment(
        source=file,
        name="live",
        # A module, not a file: a file's flow is in a module of another name, which Dask workers elsewhere can't import
        entrypoint=entrypoint(recipe_name(file)),
        work_pool=WORK_POOL,
        work_queue=LIVE_QUEUE,
        version=version,
        tags=(OURS, "recipe"),
        fault=fault,
    )


def _read(file: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(yaml.safe_load(file.read_text()))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{file} is missing: it says what `plaza deploy` deploys") from error
    except (yaml.YAMLError, ValidationError) as error:
        faults = describe(error) if isinstance(error, ValidationError) else error
        raise ConfigurationError(f"{file} can't be used: {faults}") from error
