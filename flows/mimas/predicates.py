"""Conditions on a scenario that compose (`is_eiger & is_end & ~is_vmxi`) and can say why they said no."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

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
        """Answer without the reasons."""
        return self.judge(scenario).holds

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

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer; the reasons of a no are the parts that said no."""
        verdicts = [part.judge(scenario) for part in self.parts]
        refusals = [verdict for verdict in verdicts if not verdict.holds]
        return Verdict(not refusals, self._condition(verdicts, "and"), reasons=tuple(refusals or verdicts))


@dataclass(frozen=True)
class AnyOf(Composed):
    """Holds when at least one part does."""

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer; the reasons of a yes are the parts that said yes."""
        verdicts = [part.judge(scenario) for part in self.parts]
        approvals = [verdict for verdict in verdicts if verdict.holds]
        return Verdict(bool(approvals), self._condition(verdicts, "or"), reasons=tuple(approvals or verdicts))


@dataclass(frozen=True)
class Not(Predicate):
    """Holds when the other doesn't."""

    other: Predicate

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer; the reason is the other's verdict turned round."""
        verdict = self.other.judge(scenario)
        return Verdict(not verdict.holds, f"not ({verdict.condition})", verdict.seen, _turned(verdict.reasons))


def _turned(reasons: Iterable[Verdict]) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(not reason.holds, f"not ({reason.condition})", reason.seen, _turned(reason.reasons))
        for reason in reasons
    )


@dataclass(frozen=True)
class IsOneOf(Predicate):
    """Holds when a field of the scenario is one of some values."""

    field: str
    label: str
    values: tuple[str | Enum, ...]

    def judge(self, scenario: Scenario) -> Verdict:
        """Answer with the value that the scenario has."""
        value = getattr(scenario, self.field)
        wanted = " or ".join(_text(value) for value in self.values)
        return Verdict(value in self.values, f"{self.label} is {wanted}", _text(value))


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
