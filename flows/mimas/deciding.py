"""Decide on an event of a data collection in ISPyB, and keep the decision before anything of it is carried out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from flows.mimas.decision import Decision
from flows.mimas.record import DecisionRecord, MimasRunFolder
from flows.mimas.rules import beamline_warning, rules_in_force
from flows.mimas.scenario import Event, Scenario
from flows.mimas.scenarios.cloud import groups_just_now
from flows.mimas.scenarios.ispyb_scenario import scenario_from_ispyb
from flows.recipe.ispyb_reading import read_collection
from flows.recipe.mimas_reading import keep_reading

if TYPE_CHECKING:
    from blocks.identifiers import Dcid
    from blocks.settings import Settings
    from flows.recipe.run_record.recipe_ids import RecipeId
    from tasks.ispyb_access.reading.parameters import DispatcherParameters
    from tasks.step.resources import Resources

logger = logging.getLogger(__name__)

BEAMLINE_PARAMETERS: Final = ("ispyb_beamline", "beamline")
"""By which an event's own parameters may name a beamline."""


async def decision_of(
    dcid: Dcid,
    event: Event,
    given: Mapping[str, Any],
    run: UUID,
    recipe_id: RecipeId,
    folder: MimasRunFolder,
    resources: Resources,
) -> DecisionRecord:
    """Return the decision of a run of Mimas: the one that it has made already, unless that has come to grief.

    Where rules or launches failed, it's decided anew, as somebody has mended something; else what was decided before
    the run was killed is to be carried out, whatever ISPyB and the rules say now.

    Raises
    ------
    UnknownDataCollection, InvalidScenario
        ISPyB has none of this id, or says too little of it.
    DatabaseUnavailable
        ISPyB has been away for ten minutes.
    VisitFilesUnavailable
        The visit's file system doesn't answer.
    DecisionNotKept
        The decision can't be written.
    """
    before = await asyncio.to_thread(folder.read)
    if before is not None and before.is_to_be_carried_out and before.is_for(dcid, event, given):
        logger.info("decided before this run was taken up again: that is carried out")
        return before
    collection = await read_collection(resources, dcid, guid=recipe_id.name)
    record = await asyncio.to_thread(decide_on, collection, event, given, resources.settings)
    if record.recipes or record.jobs:  # kept before the first recipe run looks for it
        has_reading = await asyncio.to_thread(keep_reading, collection, run) is not None
        record = record.model_copy(update={"has_reading": has_reading})
    record = record.model_copy(update={"recipe_id": recipe_id.text})
    await folder.keep(record)
    return record


def decide_on(
    collection: DispatcherParameters, event: Event, given: Mapping[str, Any], settings: Settings
) -> DecisionRecord:
    """Decide by the rules in force; for a beamline that the site doesn't serve nothing is asked for.

    Raises
    ------
    InvalidScenario
        ISPyB says too little of the data collection.
    """
    scenario, warnings = scenario_from_ispyb(collection, event, groups_just_now(settings))
    if refusal := not_served(scenario, settings):
        return DecisionRecord.of(Decision(scenario, (), (refusal,)), given, warnings)
    rules = rules_in_force()
    more = (beamline_warning(rules, scenario), _other_beamline_named(scenario, given))
    told = (*warnings, *filter(None, more), *rules.oddities)
    return DecisionRecord.of(rules.decide(scenario), given, told, site_rules=rules.changes)


def not_served(scenario: Scenario, settings: Settings) -> str:
    """Say why a data collection is none of this site's; empty: it is."""
    if not settings.beamlines or scenario.beamline in settings.beamlines:
        return ""
    return (
        f"data collection {scenario.dcid} is of beamline {scenario.beamline}, which this site doesn't serve: expected "
        f"one of {', '.join(settings.beamlines)} (PLAZA_BEAMLINES), so nothing is launched. Send the event to that "
        "beamline's site, or add the beamline to the setting and resume this run"
    )


def _other_beamline_named(scenario: Scenario, given: Mapping[str, Any]) -> str:
    """Warn of an event whose parameters name another beamline than ISPyB: the decision goes by ISPyB."""
    for name in BEAMLINE_PARAMETERS:
        named = given.get(name)
        if isinstance(named, str) and named.strip().lower() != scenario.beamline.lower():
            return (
                f"the event's {name} is {named!r:.60}, but in ISPyB data collection {scenario.dcid} is of beamline "
                f"{scenario.beamline}: the rules go by ISPyB's, and the recipes get the event's, as they do of all its "
                "parameters. Check the dcid; if ISPyB is wrong, mend BLSession.beamLineName and send the event again"
            )
    return ""
