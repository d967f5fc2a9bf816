"""What Mimas decided is read back as it was kept, and shown without a server."""

from dataclasses import replace

import pytest

from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is
from flows.mimas.record import DecisionNotKept, DecisionRecord, mimas_run_folder
from flows.mimas.record.outcome import MimasOutcome
from flows.mimas.record.showing import mimas_run_text
from flows.mimas.rules import load_rules
from flows.mimas.rules.rule_set import RuleSet
from flows.mimas.scenario import (
    AnomalousScatterer,
    CloudGroup,
    DCClass,
    DetectorClass,
    Event,
    ImageRange,
    Scenario,
    SpaceGroup,
    UnitCell,
)
from tasks.step.ports import FailedLaunch

SCENARIO = Scenario(
    12,
    DCClass.ROTATION,
    Event.END,
    "i03",
    "cm12345-1",
    "DataCollection Successful",
    DetectorClass.EIGER,
    (ImageRange(11, 1, 100), ImageRange(12, 1, 50)),
    SpaceGroup("P21"),
    UnitCell(70, 80.5, 90, 90, 91.25, 90),
    AnomalousScatterer("se"),
    "xia2/3dii",
    (CloudGroup(("cm",), ("i03",)),),
)
RULES = load_rules()


def burst(scenario):
    raise LookupError("no such sample")


BROKEN = RuleSet((*RULES.rules, Rule("odd", beamline_is("i03"), burst)), ("package x: can't be imported",))


def outcome(record, **facts):
    own = {"launched": (), "not_installed": (), "failed": (), "jobs": (), "warnings": (), "faults": record.faults}
    named = {"dcid": 12, "event": "end", "beamline": "i03", "dc_class": "rotation", "matched": record.matched}
    return MimasOutcome(**{**own, **named, **facts})


@pytest.fixture
def folder(tmp_path):
    return mimas_run_folder("run-1", tmp_path)


@pytest.mark.parametrize("rules", [RULES, BROKEN], ids=["whole", "broken"])
async def test_a_decision_is_read_back_as_it_was_made(folder, rules):
    decision = rules.decide(SCENARIO)
    record = DecisionRecord.of(decision, {"filename": None, "message_index": 0}, ["odd cell"], recipe_id="g")
    await folder.keep(record)
    read = folder.read()
    assert read == record
    assert (read.scenario, read.recipes, read.jobs) == (SCENARIO, decision.recipes, decision.jobs)
    assert any(job.trigger_variables for job in read.jobs)  # for the cloud


async def test_another_form_is_told_and_decided_anew(folder, caplog):
    assert folder.read() is None
    await folder.keep(DecisionRecord.of(RULES.decide(SCENARIO)))
    folder.decision.write_text(folder.decision.read_text().replace('"recipes"', '"receipts"'))
    assert folder.read() is None
    assert "it's decided anew" in caplog.text


async def test_what_can_not_be_kept_is_said(folder, tmp_path):
    (tmp_path / "mimas-runs").write_text("no folder")
    with pytest.raises(DecisionNotKept, match="so nothing more is launched: mend the home folder, then `plaza resume"):
        await folder.keep(DecisionRecord.of(RULES.decide(SCENARIO)))


def test_it_is_carried_out_until_it_has_been_and_nothing_was_amiss():
    whole, broken = (DecisionRecord.of(rules.decide(SCENARIO)) for rules in (RULES, BROKEN))
    failed = outcome(whole, failed=(FailedLaunch(recipe="x", reason="409"),))
    for record, happened, expected in (
        (whole, None, True),
        (broken, None, True),
        (whole, outcome(whole), True),
        (whole, failed, False),
        (whole, failed.model_copy(update={"interrupted": "ISPyB is away"}), True),
        (broken, outcome(broken), False),
    ):
        assert record.model_copy(update={"outcome": happened}).is_to_be_carried_out == expected


def test_it_is_for_one_event_only():
    record = DecisionRecord.of(RULES.decide(SCENARIO), {"a": 1})
    assert record.is_for(12, Event.END, {"a": 1})
    for other in ((13, Event.END, {"a": 1}), (12, Event.START, {"a": 1}), (12, Event.END, {})):
        assert not record.is_for(*other)


async def test_the_text_says_what_runs_what_does_not_and_why(folder, tmp_path):
    record = DecisionRecord.of(BROKEN.decide(replace(SCENARIO, visit="cm1-1\x1b[2J")), {"colour": "red"}, ["odd cell"])
    await folder.keep(record.model_copy(update={"site_rules": ("rule file x adds 'odd'",)}))
    text = mimas_run_text("run-1", tmp_path)
    assert text.startswith(
        "End of data collection 12: rotation on i03, Eiger\nrun of Mimas run-1\ngiven: colour='red'\n"
    )
    for line in (
        "not decided",
        "  package x: can't be imported",
        "  archive-nexus",
        "  odd cell",
        "  rule file x adds 'odd'",
        "  Eiger files are complete: archive-nexus",
    ):
        assert line in text.splitlines()
    assert "LookupError" in text
    await folder.keep(record.model_copy(update={"outcome": outcome(record, not_installed=("processing-rlv-eiger",))}))
    assert "  processing-rlv-eiger: not installed here" in mimas_run_text("run-1", tmp_path).splitlines()
    assert mimas_run_text("run-2", tmp_path) is None
