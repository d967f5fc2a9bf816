"""Rules and what comes of applying them: invocations, and the reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from flows.mimas.predicates import Predicate, verdict_of
from flows.mimas.raised import is_interruption, raised
from flows.mimas.scenario import Invocation, ISPyBJobInvocation, RecipeInvocation, Scenario


@dataclass(frozen=True)
class Rule:
    """One line of the decision table.

    Parameters
    ----------
    name
        What an operator calls it. By its name another rule replaces it, or it's switched off.
    applies
        When it applies.
    invoke
        What it asks for then.

    Raises
    ------
    TypeError
        One of them can't be what it is for.
    """

    name: str
    applies: Predicate
    invoke: Callable[[Scenario], Iterable[Invocation]]

    def __post_init__(self) -> None:
        # Sites write rules: a wrong one is told of where it's written, not at an event
        if not (isinstance(self.name, str) and self.name.strip()):
            raise TypeError(f"a rule's name is expected to be text, seen {self.name!r:.60}")
        if not isinstance(self.applies, Predicate):
            raise TypeError(
                f"rule {self.name!r}: expected a Predicate that says when it applies, such as `beamline_is('i03')`, "
                f"seen {self.applies!r:.60}"
            )
        if not callable(self.invoke):
            raise TypeError(
                f"rule {self.name!r}: expected a function from the scenario to what it asks for, seen "
                f"{self.invoke!r:.60}"
            )


@dataclass(frozen=True)
class Ruling:
    """What one rule said of one scenario."""

    rule: str
    matched: bool
    invocations: tuple[Invocation, ...]
    fault: str
    """What the rule raised, or did otherwise that a rule mustn't; it then asks for nothing. Else empty."""
    applies: Predicate = field(repr=False, compare=False)
    scenario: Scenario = field(repr=False, compare=False)

    @property
    def because(self) -> tuple[str, ...]:
        """The conditions that decided, each with what was seen; or why it can't be explained."""
        return self._reasons[0]

    @property
    def unexplained(self) -> str:
        """Why it can't be explained, which changes nothing of what it asks for; empty: it can."""
        return self._reasons[1]

    @cached_property
    def _reasons(self) -> tuple[tuple[str, ...], str]:
        """Worked out when it's asked for, since that takes longer than the decision."""
        try:
            return verdict_of(self.applies, self.scenario).because(), ""
        except BaseException as error:  # as in the decision, which hasn't failed of it either
            if is_interruption(error):
                raise
            why = f"can't be explained: it {raised(error)}"
            return (why,), why

    def explain(self) -> str:
        """Return a line: matched, or the conditions that said no, or what is wrong with the rule."""
        if self.fault:
            return f"{self.rule}: asks for nothing, since it {self.fault}"
        if self.matched:
            return f"{self.rule}: matched"
        return f"{self.rule}: did not match ({'; '.join(self.because)})"


@dataclass(frozen=True)
class Decision:
    """What all rules together said of one scenario."""

    scenario: Scenario
    rulings: tuple[Ruling, ...]
    unusable: tuple[str, ...] = ()
    """Packages and files of rules that could not be asked, and why."""

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
        return tuple(ruling.rule for ruling in self.rulings if ruling.matched)

    @property
    def broken_rules(self) -> tuple[str, ...]:
        """Rules that did what a rule mustn't, and what that was."""
        return tuple(f"rule {ruling.rule!r} {ruling.fault}" for ruling in self.rulings if ruling.fault)

    @property
    def faults(self) -> tuple[str, ...]:
        """What kept rules from being asked, or what they did wrong: the others have decided without them."""
        return (*self.unusable, *self.broken_rules)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Rules that can't say why, and what keeps them from it; what they ask for counts."""
        return tuple(
            f"rule {one.rule!r} {one.unexplained}" for one in self.rulings if one.unexplained and not one.fault
        )

    def explain(self) -> str:
        """Return a line for every rule: matched, or the conditions that said no."""
        return "\n".join(ruling.explain() for ruling in self.rulings)


def apply_rules(rules: Iterable[Rule], scenario: Scenario, unusable: tuple[str, ...] = ()) -> Decision:
    """Ask every rule about a scenario; one that raises doesn't keep the others from being asked."""
    return Decision(scenario, tuple(_apply(rule, scenario) for rule in rules), unusable)


def invocations_of(rules: Iterable[Rule], scenario: Scenario) -> tuple[Invocation, ...]:
    """Return what all rules ask for, as `apply_rules` does, in half of the time: without rulings, so without faults."""
    return tuple(dict.fromkeys(wanted for rule in rules for wanted in _ask(rule, scenario)[1]))


def _apply(rule: Rule, scenario: Scenario) -> Ruling:
    return Ruling(rule.name, *_ask(rule, scenario), rule.applies, scenario)


def _ask(rule: Rule, scenario: Scenario) -> tuple[bool, tuple[Invocation, ...], str]:
    """Tell whether a rule applies, what it then asks for, and what is wrong with it."""
    matched = False
    try:
        if not rule.applies(scenario):
            return False, (), ""
        matched = True
        return True, _checked(rule.invoke(scenario)), ""
    except BaseException as error:  # of sites' rules, which may raise anything
        if is_interruption(error):
            raise
        return matched, (), raised(error)


def _checked(wanted: Iterable[Invocation]) -> tuple[Invocation, ...]:
    invocations = tuple(wanted)
    for invocation in invocations:
        if not isinstance(invocation, RecipeInvocation | ISPyBJobInvocation):
            raise TypeError(
                f"expected a RecipeInvocation or an ISPyBJobInvocation, seen {type(invocation).__name__} "
                f"{invocation!r:.60}"
            )
    return invocations
