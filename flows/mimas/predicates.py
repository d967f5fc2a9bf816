"""Conditions on a scenario that compose (`is_eiger & is_end & ~is_vmxi`) and can say why they said no."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from flows.mimas.scenario import DCClass, DetectorClass, Event, Scenario


@dataclass(frozen=True)
class Verdict:
    """A predicate's answer for one scenario.

    Parameters
    ----------
    holds
        The answer.
    condition
        What was asked, in words.
    seen
        What the scenario has; empty for composed predicates.
    reasons
        The verdicts of the parts that decided it; empty for simple predicates.
    """

    holds: bool
    condition: str
    seen: str = ""
    reasons: tuple[Verdict, ...] = ()

    def because(self) -> tuple[str, ...]:
        """Return the simple conditions that decided, each with what was seen instead or as well."""
        if not self.reasons:
            return (f"{self.condition}: {'yes' if self.holds else 'no'}, it is {self.seen}",)
        return tuple(dict.fromkeys(line for reason in self.reasons for line in reason.because()))


class Predicate:
    """A condition on a scenario. Subclasses implement `judge`."""

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer with the reasons."""
        raise NotImplementedError

    def __call__(self, scenario: Scenario) -> bool:
        """Answer without the reasons, which takes a tenth of the time where a subclass can."""
        return verdict_of(self, scenario).holds

    def beamlines(self) -> frozenset[str] | None:
        """Return the beamlines on which it may hold; None: it may on any."""
        return None

    def __and__(self, other: Predicate) -> Predicate:
        return AllOf((*_parts(self, AllOf), *_parts(other, AllOf)))

    def __or__(self, other: Predicate) -> Predicate:
        return AnyOf((*_parts(self, AnyOf), *_parts(other, AnyOf)))

    def __invert__(self) -> Predicate:
        return Not(self)


def _parts(predicate: Predicate, kind: type[AllOf] | type[AnyOf]) -> tuple[Predicate, ...]:
    # a & b & c is one condition of three parts: its sentence needs no brackets
    return predicate.parts if isinstance(predicate, kind) else (predicate,)


@dataclass(frozen=True)
class Composed(Predicate):
    """A predicate made of others."""

    parts: tuple[Predicate, ...]

    def _condition(self, verdicts: Iterable[Verdict], word: str) -> str:
        return f" {word} ".join(
            f"({verdict.condition})" if isinstance(part, Composed) else verdict.condition
            for part, verdict in zip(self.parts, verdicts, strict=True)
        )


@dataclass(frozen=True)
class AllOf(Composed):
    """Holds when every part does."""

    def __call__(self, scenario: Scenario) -> bool:
        """Answer by the first part that says no."""
        for part in self.parts:  # noqa: SIM110 - a generator takes twice as long
            if not part(scenario):
                return False
        return True

    def beamlines(self) -> frozenset[str] | None:
        """Return the beamlines of all its parts that name some."""
        named = [names for part in self.parts if (names := beamlines_of(part)) is not None]
        return frozenset.intersection(*named) if named else None

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer; the reasons of a no are the parts that said no."""
        verdicts = [verdict_of(part, scenario) for part in self.parts]
        refusals = [verdict for verdict in verdicts if not verdict.holds]
        return Verdict(not refusals, self._condition(verdicts, "and"), reasons=tuple(refusals or verdicts))


@dataclass(frozen=True)
class AnyOf(Composed):
    """Holds when at least one part does."""

    def __call__(self, scenario: Scenario) -> bool:
        """Answer by the first part that says yes."""
        for part in self.parts:  # noqa: SIM110
            if part(scenario):
                return True
        return False

    def beamlines(self) -> frozenset[str] | None:
        """Return the beamlines of any of its parts."""
        named = [beamlines_of(part) for part in self.parts]
        return None if None in named else frozenset[str]().union(*(names for names in named if names))

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer; the reasons of a yes are the parts that said yes."""
        verdicts = [verdict_of(part, scenario) for part in self.parts]
        approvals = [verdict for verdict in verdicts if verdict.holds]
        return Verdict(bool(approvals), self._condition(verdicts, "or"), reasons=tuple(approvals or verdicts))


@dataclass(frozen=True)
class Not(Predicate):
    """Holds when the other doesn't."""

    other: Predicate

    def __call__(self, scenario: Scenario) -> bool:
        """Answer the contrary."""
        return not self.other(scenario)

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer; the reason is the other's verdict turned round."""
        verdict = verdict_of(self.other, scenario)
        return Verdict(not verdict.holds, f"not ({verdict.condition})", verdict.seen, _turned(verdict.reasons))


def _turned(reasons: Iterable[Verdict]) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(not reason.holds, f"not ({reason.condition})", reason.seen, _turned(reason.reasons))
        for reason in reasons
    )


def verdict_of(predicate: Predicate, scenario: Scenario) -> Verdict:
    """Ask a predicate for its verdict; a judge of a site's that says yes or no and no more is taken at its word.

    Raises
    ------
    TypeError
        It says something else.
    """
    verdict: object = predicate.judge(scenario)
    if isinstance(verdict, Verdict):
        return verdict
    if isinstance(verdict, bool):
        return Verdict(verdict, type(predicate).__name__, "not said")
    raise TypeError(f"{type(predicate).__name__}.judge: expected a Verdict, seen {verdict!r:.60}")


def beamlines_of(predicate: Predicate) -> frozenset[str] | None:
    """Return the beamlines on which a predicate may hold; None: it may on any.

    Raises
    ------
    TypeError
        A site's predicate has something else of this name.
    """
    ask: object = predicate.beamlines
    what = (
        f"{type(predicate).__name__}.beamlines: expected a method that returns a frozenset of beamlines' names or None"
    )
    if not callable(ask):
        raise TypeError(f"{what}, seen {ask!r:.60}; give the attribute another name")
    names = ask()
    if names is None or (isinstance(names, frozenset) and all(isinstance(name, str) for name in names)):
        return names
    raise TypeError(f"{what}, seen {names!r:.60}")


@dataclass(frozen=True)
class IsOneOf(Predicate):
    """Holds when a field of the scenario is one of some values."""

    field: str
    label: str
    values: tuple[str | Enum, ...]

    def __call__(self, scenario: Scenario) -> bool:
        """Answer without words."""
        return getattr(scenario, self.field) in self.values

    def beamlines(self) -> frozenset[str] | None:
        """Return the values if they are beamlines."""
        return frozenset(map(str, self.values)) if self.field == "beamline" else None

    @cached_property
    def _condition(self) -> str:
        return f"{self.label} is {' or '.join(map(_text, self.values))}"

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer with the value that the scenario has."""
        value = getattr(scenario, self.field)
        return Verdict(value in self.values, self._condition, _text(value))


@dataclass(frozen=True)
class VisitBeginsWith(Predicate):
    """Holds when the visit's name begins with one of some texts."""

    beginnings: tuple[str, ...]

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer with the visit."""
        holds = scenario.visit is not None and scenario.visit.startswith(self.beginnings)
        return Verdict(holds, f"visit begins with {' or '.join(self.beginnings)}", _text(scenario.visit))


@dataclass(frozen=True)
class HasOwnSweep(Predicate):
    """Holds when it is known which images the data collection has."""

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer with its images."""
        own = [f"{sweep.start} to {sweep.end}" for sweep in scenario.sweeps if sweep.dcid == scenario.dcid]
        return Verdict(bool(own), "its own images are among the sweeps", " and ".join(own) or "without images")


@dataclass(frozen=True)
class HasOtherSweeps(Predicate):
    """Holds when the group of the data collection has another one."""

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer with the other data collections."""
        others = dict.fromkeys(sweep.dcid for sweep in scenario.sweeps if sweep.dcid != scenario.dcid)
        seen = f"with {', '.join(map(str, others))}" if others else "alone"
        return Verdict(bool(others), "group has other data collections", seen)


def _text(value: str | Enum | None) -> str:
    match value:
        case None:
            return "unknown"
        case Enum():
            return value.name
        case _:
            return value


def beamline_is(*names: str) -> Predicate:
    """Hold on the named beamlines."""
    return IsOneOf("beamline", "beamline", names)


def detector_is(detector: DetectorClass) -> Predicate:
    """Hold for one detector family."""
    return IsOneOf("detector_class", "detector", (detector,))


def event_is(event: Event) -> Predicate:
    """Hold for one event."""
    return IsOneOf("event", "event", (event,))


def class_is(*classes: DCClass) -> Predicate:
    """Hold for any of the classes of data collection."""
    return IsOneOf("dc_class", "class", classes)


def visit_begins_with(*beginnings: str) -> Predicate:
    """Hold for the visits whose names begin with one of these."""
    return VisitBeginsWith(beginnings)
