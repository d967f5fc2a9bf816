"""Where rules come from: Plaza's modules and those of other packages, by entry points; then the site's rule file.

A module has `RULES`, a sequence of rules, or `SWITCHED_OFF`, names of rules that don't count here, or both. What comes
later wins: a rule of a known name takes the place of the one before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from blocks.installed_packages import package_of
from blocks.settings import get_settings
from flows.mimas.decision import Decision, Rule
from flows.mimas.raised import is_interruption, raised
from flows.mimas.rules.rule_set import RuleSet, beamlines_of_rule
from flows.mimas.scenario import Scenario
from tasks.file_version import FileVersion, file_version

ENTRY_POINTS: Final = "plaza.mimas_rules"
DISTRIBUTION: Final = "plaza"
AREAS: Final = ("mx", "vmxi", "serial", "i19", "i15")
"""Plaza's own science areas, in the order of the decision table: the names of their entry points."""

_FILE_MODULE: Final = "_plaza_mimas_rule_file"


class _RuleBook:
    """Rules as they are gathered, source by source."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._faults: list[str] = []
        self._changes: list[str] = []
        self._oddities: list[str] = []

    def take(self, source: str, module: Any, *, is_ours: bool = False) -> None:
        """Add what a module says; what others than Plaza say changes Plaza's rules."""
        before = dict(self._rules)
        rules, switched_off = getattr(module, "RULES", None), getattr(module, "SWITCHED_OFF", None)
        if rules is None and switched_off is None:
            self.fault(source, "expected RULES or SWITCHED_OFF in it, seen neither")
        if rules is not None:
            self._add(source, rules)
        if switched_off is not None:
            self._switch_off(source, switched_off)
        if not is_ours:
            self._note_changes(source, before)

    def _note_changes(self, source: str, before: Mapping[str, Rule]) -> None:
        added = [name for name in self._rules if name not in before]
        replaced = [name for name, rule in self._rules.items() if name in before and rule is not before[name]]
        gone = [name for name in before if name not in self._rules]
        for what, names in (("adds", added), ("replaces", replaced), ("switches off", gone)):
            if names:
                self._changes.append(f"{source} {what} {', '.join(map(repr, names))}")

    def fault(self, source: str, what: str) -> None:
        """Tell of a source that can't be used as it is."""
        self._faults.append(f"{source}: {what}")

    def all(self) -> RuleSet:
        """Return what was gathered."""
        rules = tuple(self._rules.values())
        return RuleSet(rules, tuple(self._faults), tuple(self._changes), tuple(self._oddities))

    def _add(self, source: str, rules: Any) -> None:
        if not _is_sequence_of(Rule, rules):
            expected = "expected RULES to be a tuple of Rule (flows.mimas.decision)"
            self.fault(source, f"{expected}, seen {rules!r:.80}; none of its rules count")
            return
        seen: set[str] = set()
        for rule in rules:
            if rule.name in seen:
                self.fault(source, f"two of its rules are named {rule.name!r}: the first counts; rename the other")
                continue
            seen.add(rule.name)
            self._rules[rule.name] = rule  # a known name keeps its place
            _, fault = beamlines_of_rule(rule)
            if fault:
                told = f"{source}: rule {rule.name!r} counts, but can't say for which beamlines it is: it {fault}"
                self._oddities.append(told)

    def _switch_off(self, source: str, names: Any) -> None:
        if not _is_sequence_of(str, names):
            expected = "expected SWITCHED_OFF to be a tuple of rules' names, as in ('preview',)"
            self.fault(source, f"{expected}, seen {names!r:.80}; it switches nothing off")
            return
        for name in dict.fromkeys(names):
            if self._rules.pop(name, None) is None:
                known = ", ".join(self._rules)
                self.fault(source, f"switches off {name!r}, but no rule has this name; known are: {known}")


def load_rules(file: Path | None = None) -> RuleSet:
    """Gather the rules of Plaza, of other installed packages and of a file.

    Parameters
    ----------
    file
        Rules of the site's: a Python file, which is run. None: there is none.

    Returns
    -------
    RuleSet
        All rules that can be used. Its faults tell of sources that can't.
    """
    rules = _load(file, None if file is None else file_version(str(file)))
    if rules.faults:  # the file server may have been away: the next event tries again
        _load.cache_clear()
    return rules


def rules_in_force() -> RuleSet:
    """Return the rules that the site decides by: installed packages' and those of the setting `mimas_rules`.

    A changed rule file counts at once, a package that is installed or changed when the process is started again.
    """
    return load_rules(get_settings().mimas_rules)


def decide(scenario: Scenario) -> Decision:
    """Say what is to be run for a data collection by the rules in force, and why."""
    return rules_in_force().decide(scenario)


@cache
def own_rules() -> RuleSet:
    """Return Plaza's own rules alone, as they are without a site's."""
    book = _RuleBook()
    for area in AREAS:
        book.take(f"Plaza's own rules ({area})", import_module(area_module(area)))
    return book.all()


def area_module(area: str) -> str:
    """Return the name of the module of one of Plaza's own areas."""
    return f"{__package__}.{area}"


@lru_cache(maxsize=4)
def _load(file: Path | None, version: FileVersion | None) -> RuleSet:
    book = _RuleBook()
    points = _in_order(entry_points(group=ENTRY_POINTS))
    found = {point.name for point in points if _is_ours(point)}
    missing = [area for area in AREAS if area not in found]
    if missing:
        book.fault(
            f"Plaza's own rules ({', '.join(missing)})",
            f"expected in the entry points {ENTRY_POINTS} of the installed package {DISTRIBUTION}, seen none of these; "
            "install Plaza again (`./plaza` does), since nothing runs by them",
        )
    for point in points:
        _take_entry_point(book, point)
    if file is not None:
        _take_file(book, file, is_there=version is not None)
    return book.all()


def _in_order(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    def place(point: EntryPoint) -> tuple[int, str, str]:
        is_known = _is_ours(point) and point.name in AREAS
        return AREAS.index(point.name) if is_known else len(AREAS), package_of(point).lower(), point.name

    return sorted(points, key=place)


def _is_ours(point: EntryPoint) -> bool:
    return package_of(point).lower() == DISTRIBUTION


def _take_entry_point(book: _RuleBook, point: EntryPoint) -> None:
    source = f"rules {point.name} ({point.value}) of package {package_of(point) or 'without a name'}"
    if not point.pattern.match(point.value):
        expected = f"expected `module` or `module:attribute` in its entry points {ENTRY_POINTS}"
        book.fault(source, f"{expected}, seen {point.value!r:.80}; mend or remove the package")
        return
    try:
        book.take(source, point.load(), is_ours=_is_ours(point))
    except BaseException as error:  # a package's module may raise anything
        if is_interruption(error):
            raise
        book.fault(source, f"expected a module that can be imported, it {raised(error)}; mend or remove the package")


def _take_file(book: _RuleBook, file: Path, *, is_there: bool) -> None:
    source = f"rule file {file}"
    if not is_there:
        book.fault(source, "expected a Python file, seen none there; mend PLAZA_MIMAS_RULES, or unset it")
        return
    try:
        book.take(source, _run(file))
    except BaseException as error:
        if is_interruption(error):
            raise
        book.fault(source, f"expected a Python file that can be run, it {raised(error)}; mend it")


def _run(file: Path) -> ModuleType:
    # Not by importlib: of two versions of the same second and size it may run the older one, from its cache
    module = ModuleType(_FILE_MODULE)
    module.__file__ = str(file)
    sys.modules[_FILE_MODULE] = module  # where dataclasses look their annotations up
    exec(compile(file.read_bytes(), str(file), "exec"), vars(module))
    return module


def _is_sequence_of(kind: type, values: Any) -> bool:
    is_list = isinstance(values, Sequence) and not isinstance(values, str | bytes | Mapping)
    return is_list and all(isinstance(value, kind) for value in values)
