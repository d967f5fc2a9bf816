"""`plaza mimas DCID…` and `plaza mimas replay`: what would run for data collections in ISPyB, by which rules."""

import json
from datetime import datetime, timedelta

import pytest
from typer.testing import CliRunner

from blocks.errors import PlazaError
from blocks.settings import get_settings
from flows.cli.main import app
from flows.cluster_statistics import note_statistics

STARTED = datetime(2026, 5, 1, 12)
SINCE = "2026-05-01"


@pytest.fixture
def plaza(engine, monkeypatch, tmp_path):
    """Run the command line on the test's ISPyB; return its exit status, what it prints and what it tells."""
    monkeypatch.setenv("PLAZA_ISPYB_URL", "sqlite:////nowhere/ispyb.sqlite")
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PLAZA_MIMAS_RULES", raising=False)
    get_settings.cache_clear()
    address = tmp_path / "ispyb.url"
    address.write_text(engine.url.render_as_string(hide_password=False))
    address.chmod(0o600)

    def run(*words):
        done = CliRunner().invoke(app, ["mimas", *map(str, words), "--ispyb", str(address)])
        if isinstance(done.exception, PlazaError):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    yield run
    get_settings.cache_clear()


@pytest.fixture
def rotation(add_collection):
    return add_collection(startTime=STARTED, BLSAMPLEID=None)


ROTATION_ENDS = """\
  end:
    recipe archive-nexus
    recipe per-image-analysis-rotation-swmr
    recipe processing-rlv-eiger
    recipe generate-diffraction-preview
    recipe processing-mmcif-gen
    job autoprocessing-fast-dp-eiger (fast_dp): starts at once
    job autoprocessing-xia2-dials-eiger (xia2 dials): starts at once; \
resolution.cc_half_significance_level=0.1; absorption_level=medium
    job autoprocessing-xia2-3dii-eiger (xia2 3dii): is held; resolution.cc_half_significance_level=0.1
    job autoprocessing-autoPROC-eiger (autoPROC): is held
"""


def test_people_see_what_would_run_at_each_event(plaza, rotation):
    assert plaza(rotation) == (
        0,
        f"{rotation} · i03 · rotation · Eiger · mx12345-1\n"
        f"  start: nothing\n{ROTATION_ENDS}  start-group: nothing\n  end-group: nothing\n",
        "",
    )


@pytest.mark.parametrize("event", ["end", "END", "End"])
def test_one_event_may_be_asked_of_in_any_case(plaza, rotation, event):
    status, printed, _ = plaza("--event", event, rotation)
    assert (status, printed.partition("\n")[2]) == (0, ROTATION_ENDS)


def test_command_lines_are_all_that_is_printed(plaza, rotation):
    status, printed, told = plaza("-c", rotation)
    assert (status, told) == (0, "")
    lines = printed.splitlines()
    assert lines[0] == f"zocalo.go -r archive-nexus {rotation}"
    assert lines[5] == (
        f"ispyb.job --new --dcid={rotation} --source=automatic --recipe=autoprocessing-fast-dp-eiger "
        "--display='fast_dp' --trigger"
    )
    assert [line.split()[0] for line in lines] == ["zocalo.go"] * 5 + ["ispyb.job"] * 4


def test_programs_get_an_object_for_each_event(plaza, rotation):
    status, printed, _ = plaza(rotation, "--json", "--explain")
    found = [json.loads(line) for line in printed.splitlines()]
    assert status == 0
    assert [one["event"] for one in found] == ["start", "end", "start-group", "end-group"]
    assert found[1]["invocations"][0] == {"type": "recipe", "dcid": rotation, "recipe": "archive-nexus"}
    rules = {rule["rule"]: rule for rule in found[1]["rules"]}
    assert rules["Eiger files are complete"]["matched"]
    assert rules["screening strategy"]["because"] == ["class is SCREENING: no, it is ROTATION"]


def test_each_rule_says_why_not(plaza, rotation):
    _, printed, _ = plaza(rotation, "--event", "end", "--explain")
    lines = printed.splitlines()
    assert "    Eiger files are complete: matched, asks for archive-nexus" in lines
    assert "    Eiger images end on VMXm: did not match (beamline is i02-1: no, it is i03)" in lines


def test_reasons_of_command_lines_are_beside_them(plaza, rotation):
    without = plaza(rotation, "-c")
    status, printed, told = plaza(rotation, "-c", "--explain")
    assert (status, printed) == without[:2]
    assert "screening strategy: did not match" in told


def test_unknown_collections_are_told_and_the_others_shown(plaza, rotation, add_group, add_collection):
    status, printed, told = plaza(rotation, 99_999, 0)
    assert status == 1
    assert printed.startswith(f"{rotation} · i03")
    assert "no data collection 99999" in told
    assert "0 is no id of a data collection" in told
    status, printed, _ = plaza(99_999, rotation, "--json", "--event", "end")
    errors = [json.loads(line).get("error", "") for line in printed.splitlines()]
    assert status == 1
    assert "no data collection 99999" in errors[0]
    assert errors[1] == ""


def test_characterization_asks_for_all_pipelines_at_once(plaza, add_collection, add_group):
    dcid = add_collection(
        dataCollectionGroupId=add_group(experimentType="Characterization"), numberOfImages=3, overlap=-45
    )
    _, printed, _ = plaza(dcid, "-c", "--event", "end")
    jobs = [line for line in printed.splitlines() if line.startswith("ispyb.job")]
    assert "--recipe=strategy-align-crystal" in jobs[0]
    assert len(jobs) > 4
    assert all("--trigger" in line for line in jobs)


def test_cloud_counts_as_the_clusters_said_last(plaza, rotation, monkeypatch, tmp_path):
    monkeypatch.setenv("PLAZA_CLOUDBURSTING", "true")
    group = {"visit_pattern": ["mx"], "beamlines": ["i03"], "max_jobs_waiting": {"slurm": 60, "iris": 500}}
    monkeypatch.setenv("PLAZA_CLOUD_GROUPS", json.dumps([group]))
    get_settings.cache_clear()
    home = tmp_path / "home"
    assert "-cloud" not in plaza(rotation, "-c")[1]
    for cluster, pending in (("slurm", 100), ("iris", 1)):
        note_statistics({"statistic": "job-states", "statistic-cluster": cluster, "PENDING": pending}, home)
    note_statistics({"statistic": "used-storage", "statistic-cluster": "s3echo", "total": 10}, home)
    lines = [line for line in plaza(rotation, "-c")[1].splitlines() if "-cloud" in line]
    assert len(lines) == 2
    assert all(line.endswith("--trigger-variable=statistic-cluster:iris") for line in lines)


def test_lines_or_objects(plaza, rotation):
    assert plaza(rotation, "-c", "--json")[0] == 2
    assert plaza(rotation, "--event", "stop")[0] == 2
    assert plaza("decode")[0] == 2


def test_rules_are_tried_out(plaza, rotation, changed):
    status, printed, told = plaza(rotation, "--event", "start", "--rules", changed)
    assert (status, printed.splitlines()[-1], told) == (0, "    recipe watch", "")
    changed.write_text(CHANGED.replace('recipes("watch")', "lambda scenario: 1 / 0"))
    status, printed, told = plaza(rotation, "--event", "start", "--rules", changed)
    assert (status, printed.splitlines()[-1]) == (1, "  start: nothing")
    assert "rule 'ours' raised ZeroDivisionError" in told


# Replay

CHANGED = """
import dataclasses
from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is, event_is
from flows.mimas.rules import own_rules
from flows.mimas.rules.asking import recipes
from flows.mimas.scenario import Event, JobParameter

old = next(rule for rule in own_rules().rules if rule.name == "processing pipelines")

def otherwise(scenario):
    for job in old.invoke(scenario):
        if job.display_name == "xia2 dials":
            parameters = (*job.parameters, JobParameter("pipeline", "new"))
            job = dataclasses.replace(job, autostart=False, parameters=parameters)
        yield job

RULES = (
    Rule("ours", beamline_is("i03") & event_is(Event.START), recipes("watch")),
    Rule("processing pipelines", old.applies, otherwise),
)
SWITCHED_OFF = ("metadata for deposition",)
"""


@pytest.fixture
def changed(tmp_path):
    file = tmp_path / "changed.py"
    file.write_text(CHANGED)
    return file


@pytest.fixture
def past(add_collection):
    """Two rotations, the second of a known crystal, and a screening, an hour apart."""
    return [
        add_collection(startTime=STARTED + timedelta(hours=number), dataCollectionNumber=number, **columns)
        for number, columns in enumerate([{"BLSAMPLEID": None}, {}, {"numberOfImages": 1}])
    ]


def test_differences_are_shown_and_counted(plaza, past, changed):
    first, second, third = past
    status, printed, told = plaza("replay", "--since", SINCE, "--rules", changed)
    assert (status, told) == (0, "")
    assert (
        printed
        == f"""\
{first} · i03 · rotation · Eiger · mx12345-1 · 2026-05-01 12:00:00 · start
  + watch
{first} · i03 · rotation · Eiger · mx12345-1 · 2026-05-01 12:00:00 · end
  - processing-mmcif-gen
  - autoprocessing-xia2-dials-eiger (xia2 dials): starts at once
  + autoprocessing-xia2-dials-eiger (xia2 dials): is held; pipeline=new
{second} · i03 · rotation · Eiger · mx12345-1 · 2026-05-01 13:00:00 · start
  + watch
{second} · i03 · rotation · Eiger · mx12345-1 · 2026-05-01 13:00:00 · end
  - processing-mmcif-gen
  - autoprocessing-xia2-dials-eiger (xia2 dials): starts at once
  + autoprocessing-xia2-dials-eiger (xia2 dials): is held; pipeline=new
  - autoprocessing-xia2-dials-eiger (xia2 dials) with spacegroup=P41212: starts at once
  + autoprocessing-xia2-dials-eiger (xia2 dials) with spacegroup=P41212: is held; pipeline=new
{third} · i03 · screening · Eiger · mx12345-1 · 2026-05-01 14:00:00 · start
  + watch

recipe                           +  -  changed
autoprocessing-xia2-dials-eiger        3
processing-mmcif-gen                2
watch                            3
3 data collections looked at
"""
    )


def test_programs_get_differences_and_counts(plaza, past, changed):
    _, printed, _ = plaza("replay", "--since", SINCE, "--rules", changed, "--event", "END", "--json")
    *differences, counts = map(json.loads, printed.splitlines())
    assert [(one["dcid"], one["event"]) for one in differences] == [(past[0], "end"), (past[1], "end")]
    gone, other = differences[0]["changes"]
    assert (gone["recipe"], gone["before"]["type"], gone["after"]) == ("processing-mmcif-gen", "recipe", None)
    assert (other["before"]["autostart"], other["after"]["autostart"]) == (True, False)
    assert counts == {
        "collections": 3,
        "undecided": 0,
        "recipes": {
            "autoprocessing-xia2-dials-eiger": {"started": 0, "dropped": 0, "changed": 3},
            "processing-mmcif-gen": {"started": 0, "dropped": 2, "changed": 0},
        },
    }


def test_summary_is_all_if_wanted(plaza, past, changed):
    _, printed, _ = plaza("replay", "--since", SINCE, "--rules", changed, "--summary")
    assert len(printed.splitlines()) == 6


def test_without_a_file_the_sites_own_rules_are_compared_with_plazas(plaza, past, changed, monkeypatch):
    assert plaza("replay", "--since", SINCE) == (0, "Nothing differs: 3 data collections looked at.\n", "")
    monkeypatch.setenv("PLAZA_MIMAS_RULES", str(changed))
    get_settings.cache_clear()
    _, printed, _ = plaza("replay", "--since", SINCE, "--until", "2026-05-01T12:30", "--event", "start")
    assert printed.splitlines()[1] == "  + watch"
    assert printed.splitlines()[-1] == "1 data collections looked at"
    # The file that is in force, tried out, changes nothing
    _, printed, _ = plaza("replay", "--since", SINCE, "--rules", changed)
    assert printed == "Nothing differs: 3 data collections looked at.\n"


def test_period_and_beamlines_limit_what_is_looked_at(plaza, past, changed):
    def looked_at(*options):
        printed = plaza("replay", "--rules", changed, "--json", *options)[1]
        return json.loads(printed.splitlines()[-1])["collections"]

    assert looked_at("--since", "2026-05-01T12:30") == 2
    assert looked_at("--since", "2026-05-01 13:00", "--until", "2026-05-01 14:00") == 1
    assert looked_at("--since", SINCE, "--beamline", "i03") == 3
    assert looked_at("--since", "1h") == 0
    with pytest.raises(PlazaError, match="no session on 'i99'; it knows i03"):
        looked_at("--since", SINCE, "--beamline", "i03", "--beamline", "i99")


@pytest.mark.parametrize("options", [["yesterday"], ["1_0d"], ["999999w"], [SINCE, "--until", "2026-04-30"]])
def test_what_is_no_time_is_refused(plaza, options):
    status, _, told = plaza("replay", "--since", *options)
    assert status == 2
    assert "expected" in told


def test_broken_rules_and_collections_are_told_and_the_rest_goes_on(plaza, past, changed, add_collection, engine):
    from ispyb import sqlalchemy as models
    from sqlalchemy.orm import Session

    with Session(engine) as session:
        session.add(group := models.DataCollectionGroup(sessionId=_session_without_beamline(session)))
        session.flush()
        row = {"dataCollectionGroupId": group.dataCollectionGroupId, "startTime": STARTED}
        session.add(lost := models.DataCollection(**row))
        session.commit()
        dcid = lost.dataCollectionId
    changed.write_text(CHANGED.replace('recipes("watch")', "lambda scenario: 1 / 0"))
    status, printed, told = plaza("replay", "--since", SINCE, "--rules", changed)
    assert status == 1
    assert f"data collection {dcid} is left out: data collection {dcid} names no beamline" in told
    assert "rule 'ours' raised ZeroDivisionError: division by zero (changed.py, line " in told
    assert "; at 3 of the events, which were decided without it" in told
    assert printed.count("processing-mmcif-gen") == 3
    assert printed.endswith("4 data collections looked at\n")


def _session_without_beamline(session):
    from ispyb import sqlalchemy as models

    session.add(visit := models.BLSession(proposalId=session.query(models.Proposal).first().proposalId))
    session.flush()
    return visit.sessionId
