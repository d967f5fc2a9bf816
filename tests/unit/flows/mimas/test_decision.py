"""A rule that fails costs what it asks for, and nothing else."""

import asyncio

import pytest
from prefect.exceptions import TerminationSignal

from flows.mimas.decision import Rule, apply_rules
from flows.mimas.predicates import Predicate, Verdict, beamline_is, event_is
from flows.mimas.record.decision_record import DecisionRecord
from flows.mimas.rules import RuleSet, beamline_warning
from flows.mimas.scenario import DCClass, Event, RecipeInvocation, Scenario

SCENARIO = Scenario(7, DCClass.ROTATION, Event.END, "i03")
on_i03 = beamline_is("i03")


class Broken(Predicate):
    def judge(self, scenario):
        raise LookupError("no \x1b[1mfile\n of beamlines")


class OfItsOwn(BaseException):
    pass


class SaysNo(OfItsOwn):
    def __str__(self):
        raise ValueError


class Judged(Predicate):
    """A site's predicate, whose judge returns whatever it likes."""

    def __init__(self, verdict):
        self.verdict = verdict

    def judge(self, scenario):
        return self.verdict


def asks_for(*names):
    return lambda scenario: [RecipeInvocation(scenario.dcid, name) for name in names]


def fails_midway(scenario):
    yield RecipeInvocation(scenario.dcid, "half")
    raise KeyError("dose")


def fails_with(error):
    def fails(scenario):
        raise error

    return fails


def decide(*rules):
    return apply_rules(
        [Rule("before", on_i03, asks_for("a")), *rules, Rule("after", on_i03, asks_for("b", "a"))], SCENARIO
    )


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (Rule("x", Broken(), asks_for("c")), "raised LookupError: no  [1mfile  of beamlines (test_decision.py, line "),
        (Rule("x", on_i03, fails_midway), "raised KeyError: 'dose' (test_decision.py, line "),
        (Rule("x", on_i03, fails_with(SystemExit(1))), "raised SystemExit: 1"),
        (Rule("x", on_i03, fails_with(asyncio.CancelledError())), "raised CancelledError (test_decision.py, line "),
        (Rule("x", on_i03, fails_with(OfItsOwn("base"))), "raised OfItsOwn: base (test_decision.py, line "),
        (Rule("x", on_i03, fails_with(SaysNo())), "raised SaysNo (test_decision.py, line "),
        (Rule("x", Judged("yes"), asks_for("c")), "raised TypeError: Judged.judge: expected a Verdict, seen 'yes'"),
        (Rule("x", on_i03, lambda scenario: None), "raised TypeError: 'NoneType' object is not iterable"),
        (
            Rule("x", on_i03, asks_for("c", "")),
            "raised ValidationError: RecipeInvocation: argument 2: String should have at least 1 character, seen '' (",
        ),
        (
            Rule("x", on_i03, lambda scenario: ["archive-nexus"]),
            "raised TypeError: expected a RecipeInvocation or an ISPyBJobInvocation, seen str 'archive-nexus'",
        ),
    ],
)
def test_a_rule_that_fails_asks_for_nothing_and_the_others_go_on(rule, fault):
    decision = decide(rule)
    assert [wanted.recipe for wanted in decision.invocations] == ["a", "b"]
    (told,) = decision.faults
    assert told.startswith(f"rule 'x' {fault}")
    line = decision.explain().splitlines()[1]
    assert line.startswith(f"x: asks for nothing, since it {fault}")
    assert decision.rulings[1].because
    assert decision.unexplained == ()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), TerminationSignal(15)])
def test_what_ends_the_process_is_no_fault_of_a_rule_s(interruption):
    with pytest.raises(type(interruption)):
        decide(Rule("x", on_i03, fails_with(interruption)))


@pytest.mark.parametrize("holds", [True, False])
def test_a_judge_that_says_yes_or_no_is_taken_at_its_word(holds):
    at_end = event_is(Event.END)
    rules = [Rule("x", Judged(holds), asks_for("c")), Rule("y", ~Judged(holds) & at_end, asks_for("d"))]
    decision = decide(*rules, Rule("z", (Judged(holds) | ~at_end) & at_end, asks_for("e")))
    asked_for = {"c", "e"} if holds else {"d"}
    assert {wanted.recipe for wanted in decision.invocations} == {"a", "b", *asked_for}
    assert (decision.faults, decision.unexplained) == ((), ())
    assert ("y: did not match (not (Judged): no, it is not said)" in decision.explain()) == holds


@pytest.mark.parametrize(
    "applies",
    [Judged(Verdict(True, "asked", "seen", (3,))), Judged(Verdict(True, None, 5)) & on_i03 & Broken() | on_i03],
)
def test_a_rule_that_cannot_be_explained_counts_all_the_same(applies):
    decision = decide(Rule("x", applies, asks_for("c")))
    assert [wanted.recipe for wanted in decision.invocations] in (["a", "c", "b"], ["a", "b"])
    record = DecisionRecord.of(decision, warnings=["one"])
    assert record.recipes == decision.recipes
    assert record.rules[1].because[0].startswith("can't be explained: it raised ")
    assert [warning[:27] for warning in record.warnings] in (["one", "rule 'x' can't be explained"], ["one"])
    assert len(decision.explain().splitlines()) == 3


class NamesBeamlines(Predicate):
    def __init__(self, beamlines):
        self.beamlines = beamlines

    def judge(self, scenario):
        return Verdict(scenario.beamline == "i03", "on it", scenario.beamline)


@pytest.mark.parametrize(
    "beamlines", [("i03",), "i03", None, lambda: ["i03"], lambda: frozenset({3}), fails_with(OfItsOwn()), lambda: 1 / 0]
)
@pytest.mark.parametrize("compose", [lambda one: one, lambda one: one & on_i03, lambda one: on_i03 | one])
def test_a_predicate_that_has_something_else_named_beamlines_decides_all_the_same(beamlines, compose):
    rules = RuleSet((Rule("x", compose(NamesBeamlines(beamlines)), asks_for("c")),))
    assert [wanted.recipe for wanted in rules.decide(SCENARIO).invocations] == ["c"]
    assert rules.known_beamlines() is None
    assert beamline_warning(rules, SCENARIO) is None


def test_a_rule_may_raise_megabytes():
    def raises(scenario):
        raise ValueError("x" * 10**6)

    (told,) = decide(Rule("x", on_i03, raises)).faults
    assert len(told) < 500


def test_sources_that_cannot_be_used_are_among_the_faults():
    assert apply_rules([], SCENARIO, ("rule file x: not there",)).faults == ("rule file x: not there",)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("", on_i03, asks_for()), "a rule's name is expected to be text, seen ''"),
        ((7, on_i03, asks_for()), "a rule's name is expected to be text, seen 7"),
        (("x", lambda scenario: True, asks_for()), "rule 'x': expected a Predicate that says when it applies"),
        (("x", on_i03, "archive-nexus"), "rule 'x': expected a function from the scenario to what it asks for"),
    ],
)
def test_what_is_no_rule_is_told_where_it_is_made(parts, told):
    with pytest.raises(TypeError, match="^" + told):
        Rule(*parts)
