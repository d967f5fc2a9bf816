"""Mimas as a step of a recipe: Zocalo's queue `mimas`, so that Mimas's own recipe file from Zocalo runs as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from blocks.errors import MessageRefused
from flows.display_text import one_line, shortened
from flows.mimas.deciding import not_served
from flows.mimas.decision import Decision
from flows.mimas.launches.messages import as_message, run_key
from flows.mimas.record import mimas_run_folder
from flows.mimas.record.outcome import FAULTS_CHARACTERS
from flows.mimas.rules import beamline_warning, rules_in_force
from flows.mimas.scenarios.cloud import groups_just_now
from flows.mimas.scenarios.facts import InvalidScenario
from flows.mimas.scenarios.given_scenario import scenario_from_parameters
from flows.run_marks import LAUNCH_KEY, PASSED_ON
from tasks.step import ABORT, Fills, Message, Note, Send, StepContext, StepParameters, message_step
from tasks.step.atomic_file import write_atomically

logger = logging.getLogger(__name__)

DISPATCHER: Final = "dispatcher"
ISPYB: Final = "ispyb"
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")


class MimasParameters(StepParameters):
    """What Mimas decides by, in the names and with the leniency of Zocalo's."""

    dcid: Any = Field(description="The data collection")
    # What a message for Mimas brings isn't known when its recipe is checked
    event: Annotated[Any, Fills("event")] = Field(description="start, end, start_group or end_group, in any case")
    beamline: Any = Field(description="As in ISPyB, such as i03")
    dc_class: Any = Field(None, description="The classes that hold, as ispyb_dc_class, or one's name")
    visit: Any = Field(None, description="As in ISPyB, such as cm12345-1")
    run_status: Any = Field(None, description="How the collection ended")
    sweep_list: Any = Field(None, description="[dcid, start, end] of each collection of the group, its own included")
    unit_cell: Any = Field(None, description="Six numbers; used with a space group only")
    space_group: Any = Field(None, description="In any spelling")
    diffraction_plan_info: Any = Field(None, description="An object, of which anomalousScatterer counts")
    preferred_processing: Any = Field(None, description="The pipeline that starts at once, as in xia2/DIALS")
    detectorclass: Any = Field(None, description="eiger or pilatus")
    cloudbursting: Any = Field(
        None, description="Groups that may use the cloud; without them, as the site's settings and statistics say"
    )
    filename: Annotated[Any, Fills("filename")] = Field(None, description="Passed on to the recipes if it's given")
    message_index: Annotated[Any, Fills("message_index")] = Field(None, description="As filename")
    number_of_frames: Annotated[Any, Fills("number_of_frames")] = Field(None, description="As filename")
    start_frame_index: Annotated[Any, Fills("start_frame_index")] = Field(None, description="As filename")

    @property
    def passed_on(self) -> dict[str, Any]:
        """What the recipes get beside the data collection: what the node has, but for placeholders left unfilled."""
        own = {name: getattr(self, name) for name in PASSED_ON if name in self.model_fields_set}
        return {
            name: value for name, value in own.items() if not (isinstance(value, str) and _PLACEHOLDER.fullmatch(value))
        }


@message_step(queue="mimas", parameters=MimasParameters, outputs=(DISPATCHER, ISPYB), default_output=DISPATCHER)
def decide_on_collection(parameters: MimasParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Decide what to run for a data collection, and send it: a message for each recipe, and one for each ISPyB job.

    Recipes go to `dispatcher` as messages for Zocalo's dispatcher, jobs to `ispyb` with all that create_ispyb_job
    takes. With a rule that raises or can't be imported what the others ask for is sent all the same, and the step has
    failed; when the run is taken up again it sends what was missing.
    """
    decision, warnings = _decide(parameters, context)
    _tell(decision, warnings, context)
    file = _sent_before(context.key(message), context.resources.settings.home)
    sends = _after_those_of_before(_sends(decision, parameters.passed_on, message.environment), file)
    if not decision.faults:
        return sends
    # Those of before are known by how many they are: they have to come first when the message comes again
    write_atomically(file, json.dumps([(send.output, send.payload, send.environment) for send in sends]).encode())
    return [*sends, Send({"reason": _reason(decision.faults), "faults": list(decision.faults)}, ABORT)]


def _decide(parameters: MimasParameters, context: StepContext) -> tuple[Decision, list[str]]:
    settings = context.resources.settings
    try:
        scenario, told = scenario_from_parameters(dict(parameters))
    except InvalidScenario as error:
        raise MessageRefused(str(error)) from error
    if refusal := not_served(scenario, settings):
        raise MessageRefused(refusal)
    if parameters.cloudbursting is None:
        scenario = replace(scenario, cloudbursting=groups_just_now(settings))
    rules = rules_in_force()
    strange = beamline_warning(rules, scenario)
    return rules.decide(scenario), [*told, *([strange] if strange else []), *rules.oddities]


def _sends(decision: Decision, passed_on: Mapping[str, Any], environment: Mapping[str, Any]) -> list[Send]:
    recipes = []
    for wanted in decision.recipes:
        # By it the dispatcher's step knows a recipe that the same event has started before
        known_by = {LAUNCH_KEY: run_key(decision.scenario, wanted.recipe, passed_on)}
        body = {"recipes": [wanted.recipe], "parameters": {"ispyb_dcid": wanted.dcid, **passed_on}}
        recipes.append(Send(body, DISPATCHER, {**environment, **known_by}))
    return [*recipes, *(Send(as_message(job), ISPYB) for job in decision.jobs)]


def _tell(decision: Decision, warnings: Iterable[str], context: StepContext) -> None:
    for warning in (*warnings, *decision.unexplained):
        context.logger.warning(warning)
    for fault in decision.faults:
        context.logger.error("%s: mend or switch it off, then `plaza resume` this run", fault)
    # The message comes again, and notes add up: a fault that is mended then isn't told for good
    if not decision.faults or _tells_of_faults(context):
        context.note(*(Note(fault, is_warning=True) for fault in decision.faults))
        context.note(Note("recipes asked for", len(decision.recipes)), Note("jobs asked for", len(decision.jobs)))
    context.logger.info("rules that matched: %s", ", ".join(decision.matched) or "none")
    context.logger.info("why:\n%s", decision.explain())


def _tells_of_faults(context: StepContext) -> bool:
    """Tell whether the recipe sends faults on to another node: then the message is done."""
    outputs = context.node.get("output")
    return isinstance(outputs, Mapping) and ABORT in outputs


def _reason(faults: Iterable[str]) -> str:
    said = shortened(one_line("; ".join(faults)), FAULTS_CHARACTERS)
    return (
        f"not all rules could be asked: {said}. What the others ask for is sent; mend or switch off the rule, then "
        "`plaza resume` this run"
    )


def _sent_before(key: str, home: Path) -> Path:
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
    return mimas_run_folder(f"step-{digest}", home).path / "sent.json"


def _after_those_of_before(sends: list[Send], file: Path) -> list[Send]:
    """Return the sends, those first that were sent when a rule was broken."""
    try:
        before = [Send(payload, output, environment) for output, payload, environment in json.loads(file.read_bytes())]
    except FileNotFoundError:
        return sends
    # By their JSON, in which tuples are lists
    known = [json.dumps([send.output, send.payload]) for send in before]
    return [*before, *(send for send in sends if json.dumps([send.output, send.payload]) not in known)]
