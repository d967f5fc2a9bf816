"""The rules that a site decides by, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from flows.mimas.decision import Decision, Rule, apply_rules, invocations_of
from flows.mimas.predicates import beamlines_of
from flows.mimas.raised import is_interruption, raised
from flows.mimas.scenario import Invocation, Scenario


@dataclass(frozen=True)
class RuleSet:
    """Rules in their order, and what of the site's could not be had.

    Parameters
    ----------
    rules
        Names are unique.
    faults
        Packages and files of rules that can't be used: what, what was expected, what was seen, what to do.
    changes
        What the site has added to Plaza's own rules, replaced or switched off.
    oddities
        What is wrong with rules that count all the same.
    """

    rules: tuple[Rule, ...]
    faults: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()

    def decide(self, scenario: Scenario) -> Decision:
        """Say what is to be run for a data collection, and why."""
        return apply_rules(self.rules, scenario, self.faults)

    def invocations(self, scenario: Scenario) -> tuple[Invocation, ...]:
        """Say what is to be run and no more, for those who ask of thousands of collections."""
        return invocations_of(self.rules, scenario)

    def known_beamlines(self) -> frozenset[str] | None:
        """Return the beamlines that rules are for; None: one of them is for any."""
        named = [beamlines_of_rule(rule)[0] for rule in self.rules]
        return None if None in named else frozenset[str]().union(*(names for names in named if names))


def beamlines_of_rule(rule: Rule) -> tuple[frozenset[str] | None, str]:
    """Return the beamlines that a rule is for, None if it may be any; and what keeps the rule from saying it."""
    try:
        return beamlines_of(rule.applies), ""
    except BaseException as error:  # of a site's predicate, which decides all the same
        if is_interruption(error):
            raise
        return None, raised(error)


def beamline_warning(rules: RuleSet, scenario: Scenario) -> str | None:
    """Tell of a beamline that no rule is for, by what is known and what to do; None if there is one."""
    known = rules.known_beamlines()
    if known is None or scenario.beamline in known:
        return None
    return (
        f"no rule knows beamline {scenario.beamline!r}, so nothing runs for data collection {scenario.dcid}; known "
        f"are: {', '.join(sorted(known)) or 'none'}. If it's one of these, mend its name in ISPyB "
        "(BLSession.beamLineName) or in the message; else give the site rules for it (docs/how-to/mimas-rules.md)"
    )
