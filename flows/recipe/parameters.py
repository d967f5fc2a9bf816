"""What fills a recipe's placeholders: what was handed over, what ISPyB says, what the site's settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from blocks.identifiers import Dcid
from flows.recipe.ispyb_reading import read_ispyb_parameters
from flows.recipe.mimas_reading import find_reading
from tasks.ispyb_access.reading.asking import collection_to_read, job_to_read

if TYPE_CHECKING:
    from tasks.step.resources import Resources


async def recipe_parameters(
    dcid: Dcid | None,
    parameters: Mapping[str, Any],
    recipe_run: str,
    resources: Resources,
    read_by: UUID | None = None,
) -> dict[str, Any]:
    """Join the parameters that were handed over with those of the data collection and the job, for this recipe run.

    What Mimas has read isn't read again. Without `dcid`, the parameters may name a data collection (`ispyb_dcid`) or a
    processing job (`ispyb_process`), as in Zocalo's messages.

    Parameters
    ----------
    read_by
        The run of Mimas that has read the data collection.

    Raises
    ------
    UnknownDataCollection, UnknownJob
        ISPyB has none of this id.
    OtherDataCollection
        Mimas has read another one.
    DatabaseUnavailable
        ISPyB has been away for ten minutes.
    VisitFilesUnavailable
        The visit's file system doesn't answer.
    """
    given = dict(parameters) if dcid is None else {**parameters, "ispyb_dcid": dcid}
    collection = None
    if read_by is not None and dcid is not None:
        collection = await asyncio.to_thread(find_reading, read_by, dcid)
    if collection is not None or job_to_read(given) is not None or collection_to_read(given) is not None:
        read = await read_ispyb_parameters(resources, given, recipe_run, collection)
        given = read.recipe_parameters()
    site = resources.settings.recipe_parameters()
    # The settings give way to what was handed over; the run's id to nothing, since folders and messages have it too
    return {**site, **_for_recipe_run(given, recipe_run), "guid": recipe_run}


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
