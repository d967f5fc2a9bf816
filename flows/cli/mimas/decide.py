"""`plaza mimas decide`: what would run for scenarios in a file, without database and server."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.mimas.trial_rules import RulesFile, rules_to_ask, warn
from flows.display_text import one_line

if TYPE_CHECKING:
    from flows.mimas.decision import Decision
    from flows.mimas.rules import RuleSet

STANDARD_INPUT = Path("-")


def decide(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SCENARIO.json", help="A scenario, or a list of them; - for standard input.", show_default=False
        ),
    ],
    rules: RulesFile = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say on standard error of each rule why it matched, or didn't.")
    ] = False,
) -> None:
    """Print what would run for each scenario: a JSON list with a list of recipes and jobs for each.

    A scenario is an object with dcid, event and beamline; and any of dc_class, visit, run_status, sweep_list,
    unit_cell, space_group, diffraction_plan_info, preferred_processing, detectorclass and cloudbursting. One that is
    invalid has {"error": …} in its place. Facts that make no sense, such as a cell, are told on standard error and left
    out; so are rules that can't be used. Exits with 1 if a scenario is invalid, or a rule of --rules FILE is wrong.
    """
    scenarios = _read(file)
    decider = _Decider(rules_to_ask(rules), explain=explain)
    with redirect_stdout(sys.stderr):  # of rules, which may print
        entries = [decider.decide(number, scenario) for number, scenario in enumerate(scenarios)]
    typer.echo("[" + ",".join(f"\n{json.dumps(entry)}" for entry in entries) + "\n]")
    decider.tell_faults()
    if decider.invalid or (rules is not None and decider.faults):
        raise typer.Exit(1)


class _Decider:
    """Decides on one scenario after the other, and keeps count of what was wrong."""

    def __init__(self, rules: RuleSet, *, explain: bool) -> None:
        self._rules, self._explain = rules, explain
        self._strange: set[str] = set()
        self.invalid = 0
        self.faults: Counter[str] = Counter()

    def decide(self, number: int, parameters: Any) -> list[dict[str, Any]] | dict[str, str]:
        """Return what is printed of a scenario."""
        from flows.mimas.scenarios.facts import InvalidScenario
        from flows.mimas.scenarios.given_scenario import scenario_from_parameters
        from flows.mimas.what_if.invocation_json import invocation_json

        try:
            scenario, warnings = scenario_from_parameters(parameters)
        except InvalidScenario as error:
            self.invalid += 1
            return {"error": str(error)}
        for warning in warnings:
            warn(f"scenario {number}, data collection {scenario.dcid}: {warning}")
        decision = self._rules.decide(scenario)
        self._note(decision)
        if self._explain:
            _explain(number, decision)
        return [invocation_json(wanted) for wanted in decision.invocations]

    def tell_faults(self) -> None:
        """Tell of rules that did what a rule mustn't; each once."""
        for fault, count in self.faults.items():
            warn(f"{fault}; in {count} of the scenarios, which were decided without it")

    def _note(self, decision: Decision) -> None:
        from flows.mimas.rules import beamline_warning

        self.faults.update(decision.broken_rules)
        scenario = decision.scenario
        if scenario.beamline not in self._strange and (warning := beamline_warning(self._rules, scenario)):
            self._strange.add(scenario.beamline)
            warn(warning)


def _explain(number: int, decision: Decision) -> None:
    from flows.cli.mimas.output import INDENT, explanation_lines, headline

    typer.echo(f"scenario {number}: {headline(decision.scenario)} · {decision.scenario.event.value}", err=True)
    for line in explanation_lines(decision):
        typer.echo(INDENT + line, err=True)


def _read(file: Path) -> list[Any]:
    """Return the scenarios of a file.

    Raises
    ------
    InvalidScenario
        It can't be read, or has something else.
    """
    from flows.mimas.scenarios.facts import InvalidScenario

    name = "standard input" if file == STANDARD_INPUT else one_line(str(file))
    expected = "expected JSON with a scenario (an object) or a list of them"
    try:
        content = sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
        found = json.loads(content)
    except OSError as error:
        raise InvalidScenario(f"{name} can't be read: {error.strerror}; {expected}") from error
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, a number of thousands of digits
        raise InvalidScenario(f"{name}: {expected}, seen what is none: {error}") from error
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        raise InvalidScenario(f"{name}: {expected}, seen {found!r:.60}")
    return found
