"""What fills a recipe's placeholders: what was handed over, what ISPyB says, what the site's settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.ispyb_reading import read_parameters

if TYPE_CHECKING:
    from tasks.resources import Resources


async def recipe_parameters(
    dcid: int | None, parameters: Mapping[str, Any], recipe_run: str, resources: Resources
) -> dict[str, Any]:
    """Join the parameters that were handed over with those of the data collection, for this recipe run.

    Raises
    ------
    UnknownDataCollection
        ISPyB has none of this id.
    DatabaseUnavailable
        ISPyB has been away for ten minutes.
    """
    known = dict(parameters)
    if dcid is not None and "ispyb_dc_info" not in known:
        known = {**await read_parameters(resources, dcid, recipe_run), **known}
    site = resources.settings.recipe_parameters()
    return {**site, **_for_recipe_run(known, recipe_run), "guid": recipe_run}


def _for_recipe_run(parameters: dict[str, Any], recipe_run: str) -> dict[str, Any]:
    """Give this run its own folders: what Mimas has read names the folders of Mimas's run."""
    information = parameters.get("ispyb_dc_info")
    if not isinstance(information, Mapping) or not information.get("uuid"):
        return parameters
    own = {
        key: value.replace(information["uuid"], recipe_run)
        for key, value in parameters.items()
        if key.startswith("ispyb_") and key.endswith("_directory") and isinstance(value, str)
    }
    return {**parameters, **own, "ispyb_dc_info": {**information, "uuid": recipe_run}}
