"""What other rules would have started: two sets of rules, asked of the same scenarios.

Pure: where the scenarios come from is for others to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flows.mimas.decision import Rule
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
        self._before, self._after = before, after
        self._differing = (*_only_in(before, after), *_only_in(after, before))
        self._started: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        """What is wrong with rules that were asked, and of how many scenarios."""

    def compare(self, scenario: Scenario) -> tuple[Change, ...]:
        """Return what the rules as they would be ask for otherwise."""
        # Rules are pure: those that both have ask for the same, so nothing changes where none of the others matches
        if not any(_may_match(rule, scenario) for rule in self._differing):
            return ()
        before, after = self._before.decide(scenario), self._after.decide(scenario)
        self.faults.update({*before.broken_rules, *after.broken_rules})
        changes = tuple(_changes(before.invocations, after.invocations))
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


def _only_in(rules: RuleSet, others: RuleSet) -> Iterator[Rule]:
    known = {id(rule) for rule in others.rules}
    return (rule for rule in rules.rules if id(rule) not in known)


def _may_match(rule: Rule, scenario: Scenario) -> bool:
    try:
        return bool(rule.applies(scenario))
    except Exception:  # a site's: the decision says what is wrong with it
        return True


def _changes(before: Iterable[Invocation], after: Iterable[Invocation]) -> Iterator[Change]:
    """Yield what one of them has only; jobs of the same recipe are taken for one that changed, in their order."""
    before, after = dict.fromkeys(before), dict.fromkeys(after)
    dropped = [wanted for wanted in before if wanted not in after]
    started = [wanted for wanted in after if wanted not in before]
    for wanted in dropped:
        successor = next((other for other in started if _is_alike(wanted, other)), None)
        if successor is not None:
            started.remove(successor)
        yield Change(wanted.recipe, wanted, successor)
    for wanted in started:
        yield Change(wanted.recipe, None, wanted)


def _is_alike(wanted: Invocation, other: Invocation) -> bool:
    return type(wanted) is type(other) and wanted.recipe == other.recipe
