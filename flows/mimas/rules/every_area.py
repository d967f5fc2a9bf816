"""The rules of all science areas together: what Mimas decides by."""

from flows.mimas.decision import Decision, Rule, apply_rules
from flows.mimas.rules import macromolecular_crystallography
from flows.mimas.scenario import Scenario

RULES: tuple[Rule, ...] = (*macromolecular_crystallography.RULES,)


def decide(scenario: Scenario) -> Decision:
    """Say what is to be run for a data collection, and why."""
    return apply_rules(RULES, scenario)
