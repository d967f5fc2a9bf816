"""Rules and what comes of applying them: invocations, and the reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flows.mimas.predicates import Predicate, Verdict
from flows.mimas.scenario import Invocation, ISPyBJobInvocation, RecipeInvocation, Scenario


@dataclass(frozen=True)
class Rule:
    """One line of the decision table.

    Parameters
    ----------
    name
        What an operator calls it.
    applies
        When it applies.
    invoke
        What it asks for then.
    """

    name: str
    applies: Predicate
    invoke: Callable[[Scenario], Iterable[Invocation]]


@dataclass(frozen=True)
class Ruling:
    """What one rule said of one scenario."""

    rule: str
    verdict: Verdict
    invocations: tuple[Invocation, ...]
    fault: str = ""

    def explain(self) -> str:
        """Return a line: matched, or the conditions that said no."""
        if self.verdict.holds:
            return f"{self.rule}: matched"
        return f"{self.rule}: did not match ({'; '.join(self.verdict.because())})"


@dataclass(frozen=True)
class Decision:
    """What all rules together said of one scenario."""

    scenario: Scenario
    rulings: tuple[Ruling, ...]
    faults: tuple[str, ...] = ()

    @property
    def invocations(self) -> tuple[Invocation, ...]:
        """All that is asked for, in the order of the rules, each once."""
        # Rules may ask for the same; Zocalo then runs it twice
        return tuple(dict.fromkeys(wanted for ruling in self.rulings for wanted in ruling.invocations))

    @property
    def recipes(self) -> tuple[RecipeInvocation, ...]:
        """The recipes to run."""
        return tuple(wanted for wanted in self.invocations if isinstance(wanted, RecipeInvocation))

    @property
    def jobs(self) -> tuple[ISPyBJobInvocation, ...]:
        """The ISPyB jobs to create."""
        return tuple(wanted for wanted in self.invocations if isinstance(wanted, ISPyBJobInvocation))

    @property
    def matched(self) -> tuple[str, ...]:
        """Names of the rules that applied."""
        return tuple(ruling.rule for ruling in self.rulings if ruling.verdict.holds)

    def explain(self) -> str:
        """Return a line for every rule: matched, or the conditions that said no."""
        return "\n".join(ruling.explain() for ruling in self.rulings)


def apply_rules(rules: Iterable[Rule], scenario: Scenario) -> Decision:
    """Ask every rule about a scenario."""
    return Decision(scenario, tuple(_apply(rule, scenario) for rule in rules))


def _apply(rule: Rule, scenario: Scenario) -> Ruling:
    verdict = rule.applies.judge(scenario)
    return Ruling(rule.name, verdict, tuple(rule.invoke(scenario)) if verdict.holds else ())
