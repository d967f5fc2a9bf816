"""`plaza mimas DCID…`: what would run at each event of data collections in ISPyB."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.ispyb.option import IspybURL, open_ispyb
from flows.cli.mimas.event_option import EventName, events_of
from flows.cli.mimas.trial_rules import RulesFile, rules_to_ask, warn
from flows.cli.whole_numbers import integer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from flows.mimas.decision import Decision
    from flows.mimas.rules import RuleSet
    from flows.mimas.scenario import CloudGroup, Event


def show(
    dcids: Annotated[
        list[int], typer.Argument(metavar="DCID…", help="Data collections.", show_default=False, parser=integer)
    ],
    event: EventName = None,
    as_commands: Annotated[
        bool, typer.Option("-c", "--commands", help="Print Zocalo's command lines instead: a line for each.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of each rule why it matched, or didn't; with -c on standard error.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each event.")] = False,
    rules: RulesFile = None,
    ispyb: IspybURL = None,
) -> None:
    """Print what would run at each event of data collections, as ISPyB has them now. Nothing is run or written.

    No site needs to be up; if cloud bursting is on, what clusters said last counts. Exits with 1 if ISPyB has no such
    data collection, or too little of it; the others are shown all the same. So it does if a rule of --rules FILE is
    wrong.
    """
    if as_commands and as_json:
        raise typer.BadParameter("-c prints lines, --json objects: say one of them")
    events, rule_set = events_of(event), rules_to_ask(rules)
    show_one = _commands if as_commands else _objects if as_json else _lines
    is_well = True
    with open_ispyb(ispyb) as engine:
        for dcid in dict.fromkeys(dcids):
            try:
                decisions = _decide(engine, dcid, events, rule_set)
            except _faults_of_one() as error:
                is_well = False
                _tell(dcid, error, as_json=as_json)
            else:
                is_well = is_well and (rules is None or not any(one.broken_rules for one in decisions))
                for line in show_one(decisions, explain):
                    typer.echo(line)
    if not is_well:
        raise typer.Exit(1)


def _faults_of_one() -> tuple[type[Exception], ...]:
    """Return what concerns one data collection only; ISPyB that is away concerns all."""
    from blocks.errors import UnknownDataCollection
    from flows.mimas.scenarios.facts import InvalidScenario
    from tasks.ispyb_access.reading.visit.files import VisitFilesUnavailable

    return InvalidScenario, UnknownDataCollection, VisitFilesUnavailable


def _tell(dcid: int, error: Exception, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"dcid": dcid, "error": str(error)}))
    typer.echo(f"plaza: {error}", err=True)


def _decide(engine: Engine, dcid: int, events: Sequence[Event], rules: RuleSet) -> list[Decision]:
    """Decide on each event as Mimas does.

    Raises
    ------
    UnknownDataCollection
        ISPyB has none of this id.
    InvalidScenario
        It says too little of it.
    VisitFilesUnavailable
        The visit's file system doesn't answer.
    """
    from blocks.identifiers import parse_dcid
    from flows.mimas.rules import beamline_warning
    from flows.mimas.scenarios.ispyb_scenario import scenario_from_ispyb
    from tasks.ispyb_access.reading.reader import read_data_collection
    from tasks.ispyb_access.reading.visit.files import FileAccess

    collection = read_data_collection(engine, parse_dcid(dcid), "{guid}", FileAccess.READ)
    scenarios = [scenario_from_ispyb(collection, event, _cloud()) for event in events]
    with redirect_stdout(sys.stderr):  # of rules, which may print
        decisions = [rules.decide(scenario) for scenario, _ in scenarios]
    first, warnings = scenarios[0]
    of_rules = (fault for decision in decisions for fault in decision.broken_rules)
    strange = beamline_warning(rules, first)
    for warning in dict.fromkeys((*warnings, *([strange] if strange else []), *of_rules)):
        warn(f"data collection {dcid}: {warning}")
    return decisions


def _cloud() -> tuple[CloudGroup, ...]:
    from blocks.settings import get_settings
    from flows.mimas.scenarios.cloud import groups_just_now

    return groups_just_now(get_settings())


def _lines(decisions: Sequence[Decision], explain: bool) -> Iterator[str]:
    from flows.cli.mimas.output import INDENT, decision_lines, explanation_lines, headline

    yield headline(decisions[0].scenario)
    for decision in decisions:
        yield from (INDENT + line for line in decision_lines(decision))
        if explain:
            yield f"{INDENT}rules at {decision.scenario.event.value}:"
            yield from (2 * INDENT + line for line in explanation_lines(decision))


def _commands(decisions: Sequence[Decision], explain: bool) -> Iterator[str]:
    from flows.cli.mimas.output import explanation_lines, headline
    from flows.mimas.what_if.command_lines import command_line

    for decision in decisions:
        if explain:
            typer.echo(f"{headline(decision.scenario)} · {decision.scenario.event.value}", err=True)
            for line in explanation_lines(decision):
                typer.echo(f"  {line}", err=True)
        yield from map(command_line, decision.invocations)


def _objects(decisions: Sequence[Decision], explain: bool) -> Iterator[str]:
    from flows.cli.mimas.output import explanation_json
    from flows.mimas.what_if.invocation_json import invocation_json

    for decision in decisions:
        found: dict[str, Any] = {
            "dcid": decision.scenario.dcid,
            "event": decision.scenario.event.value,
            "invocations": [invocation_json(wanted) for wanted in decision.invocations],
        }
        if explain:
            found["rules"] = explanation_json(decision.rulings)
        yield json.dumps(found)
