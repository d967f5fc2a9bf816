"""What other rules would have started: two sets of rules, asked of the same scenarios.

Pure: where the scenarios come from is for others to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flows.mimas.decision import Decision, apply_rules
from flows.mimas.rules import RuleSet
from flows.mimas.scenario import Invocation, Scenario


@dataclass(frozen=True)
class Change:
    """What is asked for by one of the sets of rules only; by both, but otherwise, if there is a before and an after.

    An order in which the same is asked for is no change.
    """

    recipe: str
    before: Invocation | None
    after: Invocation | None


@dataclass(frozen=True)
class RecipeCount:
    """In how many cases a recipe would start, would no longer start, would start otherwise."""

    started: int = 0
    dropped: int = 0
    changed: int = 0


class RuleComparison:
    """Asks rules as they were and as they would be, and counts.

    Parameters
    ----------
    before, after
        The rules.
    """

    def __init__(self, before: RuleSet, after: RuleSet) -> None:
        known = {id(rule) for rule in before.rules} & {id(rule) for rule in after.rules}
        self._shared = [rule for rule in before.rules if id(rule) in known]
        self._before = [rule for rule in before.rules if id(rule) not in known]
        self._after = [rule for rule in after.rules if id(rule) not in known]
        self._started: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        """What is wrong with rules that were asked, and of how many scenarios."""

    def compare(self, scenario: Scenario) -> tuple[Change, ...]:
        """Return what the rules as they would be ask for otherwise."""
        before, after = apply_rules(self._before, scenario), apply_rules(self._after, scenario)
        self.faults.update({*before.broken_rules, *after.broken_rules})
        dropped, started = _only_in(before, after), _only_in(after, before)
        if dropped or started:
            # Rules are pure: those of both sets ask for the same in both
            asked_for_anyway = _all_of(apply_rules(self._shared, scenario))
            dropped = [wanted for wanted in dropped if wanted not in asked_for_anyway]
            started = [wanted for wanted in started if wanted not in asked_for_anyway]
        changes = tuple(_changes(dropped, started))
        for change in changes:
            self._count(change)
        return changes

    def by_recipe(self) -> dict[str, RecipeCount]:
        """Return the counts of each recipe of which something changes, by name."""
        recipes = sorted({*self._started, *self._dropped, *self._changed})
        return {
            recipe: RecipeCount(self._started[recipe], self._dropped[recipe], self._changed[recipe])
            for recipe in recipes
        }

    def _count(self, change: Change) -> None:
        match change:
            case Change(before=None):
                self._started[change.recipe] += 1
            case Change(after=None):
                self._dropped[change.recipe] += 1
            case _:
                self._changed[change.recipe] += 1


def _only_in(decision: Decision, other: Decision) -> list[Invocation]:
    """Return what only one of the decisions asks for, each once."""
    others, found = _all_of(other), list[Invocation]()
    for wanted in _all_of(decision):
        if wanted not in others and wanted not in found:
            found.append(wanted)
    return found


def _all_of(decision: Decision) -> list[Invocation]:
    # In a list: to compare the few that there are is quicker than to hash jobs of thousands of sweeps
    return [wanted for ruling in decision.rulings for wanted in ruling.invocations]


def _changes(dropped: Iterable[Invocation], started: Sequence[Invocation]) -> Iterator[Change]:
    """Yield what changes; jobs of the same recipe are taken for one that changed, in their order."""
    rest = list(started)
    for wanted in dropped:
        successor = next((other for other in rest if _is_alike(wanted, other)), None)
        if successor is not None:
            rest.remove(successor)
        yield Change(wanted.recipe, wanted, successor)
    for wanted in rest:
        yield Change(wanted.recipe, None, wanted)


def _is_alike(wanted: Invocation, other: Invocation) -> bool:
    return type(wanted) is type(other) and wanted.recipe == other.recipe
