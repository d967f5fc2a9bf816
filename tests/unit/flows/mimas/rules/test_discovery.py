"""Rules of packages and of the site's file: added, replaced, switched off, and what can't be used is told."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from blocks.settings import get_settings
from flows.mimas.rules import RuleSet, load_rules, rules_in_force
from flows.mimas.rules.discovery import _load
from flows.mimas.scenario import DCClass, Event, Scenario

IMPORTS = """
from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is
from flows.mimas.scenario import RecipeInvocation

def asks(name):
    return lambda scenario: [RecipeInvocation(scenario.dcid, name)]
"""
ADDS = IMPORTS + "RULES = (Rule('site rule', beamline_is('b21'), asks('site-recipe')),)\n"
OURS = load_rules().rules


@pytest.fixture(autouse=True)
def _forget():
    _load.cache_clear()
    get_settings.cache_clear()
    yield
    _load.cache_clear()
    get_settings.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put packages with a module of rules on the path, as pip does."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def install(module: str, code: str, *, entry_point: str = "site", distribution: str | None = None) -> None:
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{distribution or module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution or module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[plaza.mimas_rules]\n{entry_point} = {module}\n")
        importlib.invalidate_caches()

    yield install
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(code: str | bytes) -> Path:
        file = tmp_path / "rules.py"
        file.write_bytes(code.encode() if isinstance(code, str) else code)
        return file

    return write


def names(rules: RuleSet) -> list[str]:
    return [rule.name for rule in rules.rules]


def wanted(rules: RuleSet, beamline: str = "b21") -> list[str]:
    scenario = Scenario(7, DCClass.ROTATION, Event.END, beamline)
    return [invocation.recipe for invocation in rules.invocations(scenario)]


def test_ours_are_there():
    rules = load_rules()
    assert rules.faults == ()
    assert len(rules.rules) == 40


def test_a_package_adds_rules_after_ours(install):
    install("aardvark_rules", ADDS)
    rules = load_rules()
    assert rules.faults == ()
    assert names(rules) == [*(rule.name for rule in OURS), "site rule"]
    assert wanted(rules) == ["site-recipe"]


def test_the_file_comes_last(install, write):
    install("site_rules", ADDS)
    file = write(ADDS.replace("site-recipe", "the-files-recipe") + "SWITCHED_OFF = ('preview',)\n")
    rules = load_rules(file)
    assert rules.faults == ()
    assert wanted(rules) == ["the-files-recipe"]
    assert "preview" not in names(rules)


def test_a_rule_of_a_known_name_takes_its_place(write):
    file = write(IMPORTS + "RULES = [Rule('I15 images end', beamline_is('b21'), asks('other'))]\n")
    rules = load_rules(file)
    assert rules.faults == ()
    assert names(rules) == [rule.name for rule in OURS]
    assert wanted(rules) == ["other"]


def test_a_rule_that_is_switched_off_may_be_given_anew(install, write):
    install("site_rules", "SWITCHED_OFF = ['I15 images end']")
    assert "I15 images end" not in names(load_rules())
    file = write(IMPORTS + "RULES = (Rule('I15 images end', beamline_is('b21'), asks('other')),)\n")
    assert wanted(load_rules(file)) == ["other"]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("RULES = (", "it raised SyntaxError"),
        (b"\xff\xfe\x00", "it raised "),
        ("import nothing_of_this_name", "it raised ModuleNotFoundError: No module named 'nothing_of_this_name' ("),
        ("raise SystemExit(3)", "it raised SystemExit: 3"),
        ("class Own(BaseException): pass\nraise Own('base')", "it raised Own: base ("),
        ("import asyncio\nraise asyncio.CancelledError", "it raised CancelledError ("),
        ("1/0", "it raised ZeroDivisionError: division by zero ("),
        (IMPORTS + "RULES = (Rule('x', lambda scenario: True, asks('y')),)", "rule 'x': expected a Predicate"),
        ("\n\nopen('')", "rules.py, line 3); mend"),
        ("RULES = 7", "expected RULES to be a tuple of Rule (flows.mimas.decision), seen 7"),
        ("RULES = ('preview',)", "expected RULES to be a tuple of Rule (flows.mimas.decision), seen ('preview',)"),
        ("rules = ()", "expected RULES or SWITCHED_OFF in it, seen neither"),
        ("SWITCHED_OFF = ('preview')", "expected SWITCHED_OFF to be a tuple of rules' names, as in ('preview',), seen"),
        (
            "SWITCHED_OFF = ('previews',)",
            "switches off 'previews', but no rule has this name; known are: Pilatus grid scan",
        ),
    ],
)
def test_what_cannot_be_used_is_told_and_the_rest_counts(install, write, code, fault):
    file = write(code)
    (told,) = load_rules(file).faults
    assert told.startswith(f"rule file {file}: ")
    assert fault in told
    assert names(load_rules(file)) == [rule.name for rule in OURS]
    if isinstance(code, str):
        install("broken_rules", code)
        install("good_rules", ADDS)
        rules = load_rules()
        (told,) = rules.faults
        assert told.startswith("rules site (broken_rules) of package broken_rules: ")
        assert fault in told
        assert wanted(rules) == ["site-recipe"]


def test_what_a_predicate_names_beamlines_is_told_if_it_is_something_else(write):
    code = (
        "from flows.mimas.predicates import Predicate, Verdict\n"
        "class Mine(Predicate):\n    beamlines = ('b21',)\n    def judge(self, scenario): return True\n"
    )
    file = write(IMPORTS + code + "RULES = (Rule('x', Mine(), asks('site-recipe')),)\n")
    rules = load_rules(file)
    assert (rules.faults, wanted(rules)) == ((), ["site-recipe"])
    (told,) = rules.oddities
    assert told.startswith(
        f"rule file {file}: rule 'x' counts, but can't say for which beamlines it is: it raised TypeE"
    )
    assert "seen ('b21',); give the attribute another name" in told


def test_of_two_rules_of_a_name_in_one_source_the_first_counts(write):
    code = IMPORTS + "RULES = [Rule('x', beamline_is('b21'), asks(name)) for name in ('first', 'second')]\n"
    rules = load_rules(write(code))
    assert wanted(rules) == ["first"]
    assert "two of its rules are named 'x': the first counts" in rules.faults[0]


def test_a_file_that_is_not_there_is_told(tmp_path):
    (told,) = load_rules(tmp_path / "none.py").faults
    assert told.startswith(f"rule file {tmp_path}/none.py: expected a Python file, seen none there")
    (told,) = load_rules(tmp_path).faults
    assert "it raised IsADirectoryError" in told


def test_faults_are_those_of_every_decision(tmp_path):
    decision = load_rules(tmp_path / "none.py").decide(Scenario(7, DCClass.ROTATION, Event.END, "i03"))
    assert decision.faults == load_rules(tmp_path / "none.py").faults
    assert decision.invocations


def test_ours_that_are_not_installed_are_told(monkeypatch):
    monkeypatch.setattr("flows.mimas.rules.discovery.entry_points", lambda group: ())
    rules = load_rules()
    assert rules.rules == ()
    (told,) = rules.faults
    assert told.startswith("Plaza's own rules (mx, vmxi, serial, i19, i15): expected in the entry points")


def test_a_changed_file_counts_at_once(write, monkeypatch):
    file = write(ADDS)
    monkeypatch.setenv("PLAZA_MIMAS_RULES", str(file))
    assert rules_in_force() is rules_in_force()
    assert wanted(rules_in_force()) == ["site-recipe"]
    before = file.stat()
    write(ADDS.replace("site-recipe", "SITE-recipe"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same date
    assert wanted(rules_in_force()) == ["SITE-recipe"]
    write("RULES = (")
    assert wanted(rules_in_force()) == []
    assert len(rules_in_force().faults) == 1
    file.unlink()
    assert "seen none there" in rules_in_force().faults[0]
    write(ADDS)
    assert wanted(rules_in_force()) == ["site-recipe"]
    assert not list(file.parent.glob("**/__pycache__"))


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_file_there_are_ours(monkeypatch, unset):
    monkeypatch.delenv("PLAZA_MIMAS_RULES", raising=False)
    if unset is not None:
        monkeypatch.setenv("PLAZA_MIMAS_RULES", unset)
    assert rules_in_force() == RuleSet(OURS)


def test_a_package_without_metadata_counts(install, tmp_path):
    install("site_rules", ADDS)
    (tmp_path / "site_rules-1.0.dist-info" / "METADATA").unlink()
    install("broken_rules", "1/0")
    (tmp_path / "broken_rules-1.0.dist-info" / "METADATA").unlink()
    rules = load_rules()
    assert wanted(rules) == ["site-recipe"]
    (told,) = rules.faults
    assert told.startswith("rules site (broken_rules) of package without a name: expected a module")


@pytest.mark.parametrize("value", ["not a module!", ""])
def test_an_entry_point_that_is_none_is_told(install, tmp_path, value):
    install("broken_rules", ADDS)
    (tmp_path / "broken_rules-1.0.dist-info" / "entry_points.txt").write_text(f"[plaza.mimas_rules]\nbad = {value}\n")
    install("good_rules", ADDS)
    rules = load_rules()
    (told,) = rules.faults
    expected = f"expected `module` or `module:attribute` in its entry points plaza.mimas_rules, seen {value!r}; mend"
    assert told.startswith(f"rules bad ({value}) of package broken_rules: {expected}")
    assert wanted(rules) == ["site-recipe"]


def test_a_package_that_was_away_counts_when_it_is_there(install, tmp_path):
    install("site_rules", "from late_module import RULES")
    assert len(load_rules().faults) == 1
    (tmp_path / "late_module.py").write_text(ADDS)
    importlib.invalidate_caches()
    assert load_rules().faults == ()
    assert wanted(load_rules()) == ["site-recipe"]


def test_a_file_may_have_dataclasses(write):
    code = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from flows.mimas.predicates import Predicate, Verdict\n"
        "@dataclass(frozen=True)\n"
        "class Longer(Predicate):\n"
        "    images: int\n"
        "    def judge(self, scenario):\n"
        "        seen = sum(sweep.end - sweep.start + 1 for sweep in scenario.sweeps)\n"
        "        return Verdict(seen > self.images, f'more than {self.images} images', str(seen))\n"
        "from flows.mimas.decision import Rule\n"
        "RULES = (Rule('long', ~Longer(100), lambda scenario: ()),)\n"
    )
    rules = load_rules(write(code))
    assert rules.faults == ()
    assert rules.decide(Scenario(7, DCClass.ROTATION, Event.END, "b21")).matched == ("long",)


def test_what_a_file_changes_of_plaza_s_rules_is_told(tmp_path):
    file = tmp_path / "rules.py"
    file.write_text(
        "from flows.mimas.decision import Rule\nfrom flows.mimas.rules.asking import recipes\n"
        "from flows.mimas.rules.conditions import is_end\n"
        "RULES = tuple(Rule(name, is_end, recipes('x')) for name in ('preview', 'ours'))\n"
        "SWITCHED_OFF = ('quick processing',)\n"
    )
    source = f"rule file {file}"
    expected = (f"{source} adds 'ours'", f"{source} replaces 'preview'", f"{source} switches off 'quick processing'")
    assert load_rules(file).changes == expected
