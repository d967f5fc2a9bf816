"""Several recipes, and one that came with a message, run as one: Zocalo's dispatcher merges them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State  # without it Prefect couldn't read the flow's types
from prefect.runtime import flow_run
from pydantic import Field

from flows.prefect_limits import DcidOrDigits, ExtraParameters
from flows.recipe.flow import carry_out_here, note_cancellation
from flows.recipe.queue_sending import MERGED_RECIPE
from flows.recipe.run import with_dcid
from flows.recipe.source import merged_name, merged_source

MOST_RECIPES = 100
RecipeNames = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=MOST_RECIPES)]
CustomRecipe = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _run_name() -> str:
    given = flow_run.parameters
    return with_dcid(merged_name(given.get("recipes") or (), given.get("custom_recipe")), given.get("dcid"))


@flow(
    name=MERGED_RECIPE,
    flow_run_name=_run_name,
    persist_result=False,  # a run's result is in its journal and in ISPyB
    on_cancellation=[note_cancellation],
)
async def run_merged_recipe(
    recipes: RecipeNames | None = None,
    custom_recipe: CustomRecipe | None = None,
    dcid: DcidOrDigits | None = None,
    parameters: ExtraParameters | None = None,
    read_by: UUID | None = None,
) -> State[Any]:
    """Run several recipes as one: the custom one keeps its nodes' numbers, the others' follow in the order given.

    Parameters
    ----------
    recipes
        Names of recipes.
    custom_recipe
        A recipe that Plaza keeps in its home (`custom-recipes/NAME.json`), by that name.
    dcid
        The data collection.
    parameters
        What fills the recipes' placeholders, beside what ISPyB says.
    read_by
        The run of Mimas that has read the data collection: what it read is used.
    """
    return await carry_out_here(merged_source(recipes or [], custom_recipe), dcid, parameters, read_by)
