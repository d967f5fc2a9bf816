"""A rule that fails costs what it asks for, and nothing else."""

import pytest

from flows.mimas.decision import Rule, apply_rules
from flows.mimas.predicates import Predicate, beamline_is
from flows.mimas.scenario import DCClass, Event, RecipeInvocation, Scenario

SCENARIO = Scenario(7, DCClass.ROTATION, Event.END, "i03")
on_i03 = beamline_is("i03")


class Broken(Predicate):
    def judge(self, scenario):
        raise LookupError("no \x1b[1mfile\n of beamlines")


def asks_for(*names):
    return lambda scenario: [RecipeInvocation(scenario.dcid, name) for name in names]


def fails_midway(scenario):
    yield RecipeInvocation(scenario.dcid, "half")
    raise KeyError("dose")


def leaves(scenario):
    raise SystemExit(1)


def decide(*rules):
    return apply_rules(
        [Rule("before", on_i03, asks_for("a")), *rules, Rule("after", on_i03, asks_for("b", "a"))], SCENARIO
    )


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (Rule("x", Broken(), asks_for("c")), "raised LookupError: no  [1mfile  of beamlines (test_decision.py, line "),
        (Rule("x", on_i03, fails_midway), "raised KeyError: 'dose' (test_decision.py, line "),
        (Rule("x", on_i03, leaves), "raised SystemExit: 1"),
        (Rule("x", on_i03, lambda scenario: None), "raised TypeError: 'NoneType' object is not iterable"),
        (Rule("x", on_i03, asks_for("c", "")), "raised ValidationError: 1 validation error for RecipeInvocation"),
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
    assert decision.rulings[1].verdict.because()


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
