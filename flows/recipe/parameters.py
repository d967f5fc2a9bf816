"""What fills a recipe's placeholders: what was handed over, what ISPyB says, what the site's settings say."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from blocks.identifiers import Dcid
from flows.recipe.ispyb_reading import read_ispyb_parameters
from flows.recipe.language.placeholders import names_in
from flows.recipe.language.recipe import Recipe
from flows.recipe.mimas_reading import find_reading
from tasks.ispyb_access.reading.asking import collection_to_read, is_collection_unread, job_to_read
from tasks.ispyb_access.reading.parameters import parameter_names

if TYPE_CHECKING:
    from tasks.step.resources import Resources

logger = logging.getLogger(__name__)

USED_BY_PLAZA: Final = frozenset(
    {
        *("guid", "ispyb_dcid", "ispyb_process", "ispyb_reprocessing_id", "ispyb_dc_info", "ispyb_processing_job"),
        *("ispyb_beamline", "ispyb_visit"),  # tags of the run
        # Of requests for Zocalo's dispatcher
        *("ispyb_wait_for_runstatus", "dispatcher_timeout", "dispatcher_error_queue", "dispatcher_expiration"),
    }
)
LIKENESS: Final = 0.7  # from 0 to 1, of a name that may have been meant
LONGEST_NAME: Final = 80  # characters
MOST_SHOWN: Final = 10  # names in a line that people read; looking for those that may have been meant costs 0.1 ms each


async def recipe_parameters(
    dcid: Dcid | None,
    parameters: Mapping[str, Any],
    guid: str,
    resources: Resources,
    read_by: UUID | None = None,
) -> dict[str, Any]:
    """Join the parameters that were handed over with those of the data collection and the job, for this recipe run.

    What Mimas has read isn't read again. Without `dcid`, the parameters may name a data collection (`ispyb_dcid`) or a
    processing job (`ispyb_process`), as in Zocalo's messages.

    Parameters
    ----------
    guid
        The run's recipe ID, as it may be part of a path: it names the run's folders.
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
        read = await read_ispyb_parameters(resources, given, guid, collection)
        given = read.recipe_parameters()
    site = resources.settings.recipe_parameters()
    # The settings give way to what was handed over; the recipe ID to nothing, since folders have it too
    return {**site, **_for_recipe_run(given, guid), "guid": guid}


def warn_of_unused(recipe: Recipe, parameters: Mapping[str, Any]) -> None:
    """Warn of parameters that were handed over for nothing: the recipe has no placeholder of the name.

    Those by which Plaza itself finds the data collection and the job are for something; so is all that ISPyB says, if
    it was handed over as a whole.
    """
    names = set(names_in([*recipe.nodes.values(), [payload for _, payload in recipe.start]]))
    used = names | USED_BY_PLAZA
    if not is_collection_unread(parameters):
        used |= set(parameter_names())
    unused = [name for name in parameters if name not in used]
    if not unused:
        return
    shown = ", ".join(_with_what_may_be_meant(name, names) for name in unused[:MOST_SHOWN])
    more = f" and {len(unused) - MOST_SHOWN:,} more" if len(unused) > MOST_SHOWN else ""
    logger.warning("without effect, since the recipe has no placeholder for them: the parameters %s%s", shown, more)


def _with_what_may_be_meant(name: str, names: Collection[str]) -> str:
    """Quote a name, with the most similar one of `names` if any is; of an endless one, the beginning is looked at."""
    near = difflib.get_close_matches(name[:LONGEST_NAME], sorted(names), n=1, cutoff=LIKENESS)
    return f"{name!r:.{LONGEST_NAME}}" + "".join(f" ({match!r}?)" for match in near)


def _for_recipe_run(parameters: dict[str, Any], guid: str) -> dict[str, Any]:
    """Give this run its own folders: what Mimas has read names the folders of Mimas's run."""
    information = parameters.get("ispyb_dc_info")
    uuid = information.get("uuid") if isinstance(information, Mapping) else None
    if not isinstance(information, Mapping) or not isinstance(uuid, str) or not uuid:
        return parameters
    own = {
        key: value.replace(uuid, guid)
        for key, value in parameters.items()
        if key.startswith("ispyb_") and key.endswith("_directory") and isinstance(value, str)
    }
    return {**parameters, **own, "ispyb_dc_info": {**information, "uuid": guid}}
