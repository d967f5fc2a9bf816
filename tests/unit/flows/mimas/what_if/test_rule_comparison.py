"""What two sets of rules ask for differently."""

import dataclasses

from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is, event_is
from flows.mimas.rules import RuleSet
from flows.mimas.scenario import DCClass, Event, ISPyBJobInvocation, RecipeInvocation, Scenario
from flows.mimas.what_if.rule_comparison import Change, RecipeCount, RuleComparison

SCENARIO = Scenario(7, DCClass.ROTATION, Event.END, "i03")
ON_I03 = beamline_is("i03")


def recipe(name):
    return RecipeInvocation(7, name)


def job(name="xia2", **fields):
    return ISPyBJobInvocation(7, False, name, **fields)


def rule(name, *wanted, applies=ON_I03):
    return Rule(name, applies, lambda _scenario: wanted)


def compare(before, after, scenario=SCENARIO):
    comparison = RuleComparison(RuleSet(tuple(before)), RuleSet(tuple(after)))
    return comparison.compare(scenario), comparison


SHARED = rule("shared", recipe("shared"))


def test_same_rules_differ_in_nothing():
    changes, comparison = compare([SHARED], [SHARED])
    assert changes == ()
    assert comparison.by_recipe() == {}


def test_what_is_added_starts_and_what_is_gone_does_not():
    changes, comparison = compare([rule("old", recipe("old")), SHARED], [SHARED, rule("new", recipe("new"))])
    assert changes == (Change("old", recipe("old"), None), Change("new", None, recipe("new")))
    assert comparison.by_recipe() == {"new": RecipeCount(started=1), "old": RecipeCount(dropped=1)}


def test_what_another_rule_asks_for_all_the_same_is_no_change():
    again = rule("again", recipe("shared"), recipe("shared"))
    assert compare([SHARED, again], [SHARED])[0] == ()
    assert compare([SHARED], [again, SHARED])[0] == ()
    assert compare([again], [rule("other", recipe("shared"))])[0] == ()


def test_another_order_is_no_change():
    one, two = rule("one", recipe("a"), recipe("b")), rule("one", recipe("b"), recipe("a"))
    assert compare([one], [two])[0] == ()


def test_job_that_changes_is_one_change_and_its_unchanged_variant_none():
    variant = job(comment="variant")
    before, after = rule("jobs", job(), variant), rule("jobs", variant, dataclasses.replace(job(), autostart=True))
    changes, comparison = compare([before], [after])
    assert changes == (Change("xia2", job(), dataclasses.replace(job(), autostart=True)),)
    assert comparison.by_recipe() == {"xia2": RecipeCount(changed=1)}


def test_recipe_and_job_of_the_same_name_are_not_taken_for_each_other():
    changes, _ = compare([rule("one", recipe("xia2"))], [rule("one", job())])
    assert changes == (Change("xia2", recipe("xia2"), None), Change("xia2", None, job()))


def test_rules_that_do_not_match_change_nothing():
    other = rule("old", recipe("old"), applies=ON_I03 & event_is(Event.START))
    assert compare([other], [])[0] == ()


def test_rule_that_raises_is_counted():
    def broken(_scenario):
        raise KeyError("recipe")

    comparison = RuleComparison(RuleSet(()), RuleSet((Rule("broken", ON_I03, broken), rule("new", recipe("new")))))
    for _ in range(2):
        assert comparison.compare(SCENARIO) == (Change("new", None, recipe("new")),)
    assert list(comparison.faults.values()) == [2]
    assert "rule 'broken' raised KeyError" in next(iter(comparison.faults))
