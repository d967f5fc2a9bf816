"""`plaza mimas decide`: scenarios in, decisions out, as JSON; without database, server or home."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from blocks.errors import PlazaError
from blocks.settings import get_settings
from flows.cli.main import app

ROTATION = {"dcid": "7", "event": "end", "beamline": "i24", "dc_class": "ROTATION", "detectorclass": "eiger"}
START = {"dcid": 8, "event": "START", "beamline": "i03", "dc_class": {"grid": True}, "detectorclass": "pilatus"}
KNOWN = {
    "space_group": "P21",
    "unit_cell": [50, 60.5, 70, 90, 101, 90],
    "sweep_list": [[7, 1, 100], [9, 1, 200]],
    "diffraction_plan_info": {"anomalousScatterer": "se"},
    "preferred_processing": "autoPROC",
    "cloudbursting": [{"visit_pattern": ["mx"], "beamlines": ["i24"]}],
    "visit": "mx12345-1",
}


@pytest.fixture(autouse=True)
def no_site(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "no-home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PLAZA_MIMAS_RULES", raising=False)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture
def decide(tmp_path):
    """Write scenarios to a file and run the command; return its exit status, what it prints, and what it tells."""

    def decide(scenarios, *options):
        file = tmp_path / "scenarios.json"
        file.write_text(scenarios if isinstance(scenarios, str) else json.dumps(scenarios))
        done = CliRunner().invoke(app, ["mimas", "decide", str(file), *map(str, options)])
        if isinstance(done.exception, PlazaError):
            raise done.exception
        return done.exit_code, json.loads(done.stdout) if done.stdout else None, done.stderr

    return decide


def recipe(dcid, name):
    return {"type": "recipe", "dcid": dcid, "recipe": name}


def job(recipe, display, *, autostart=False, parameters=(), sweeps=(), variables=()):
    return {
        "type": "job",
        "dcid": 7,
        "recipe": recipe,
        "displayname": display,
        "source": "automatic",
        "comment": "",
        "autostart": autostart,
        "parameters": [list(one) for one in parameters],
        "sweeps": [list(one) for one in sweeps],
        "triggervariables": [list(one) for one in variables],
    }


CC, MEDIUM = ("resolution.cc_half_significance_level", "0.1"), ("absorption_level", "medium")


def test_one_scenario_gives_a_list_of_one_in_the_order_of_the_decision(decide):
    status, (entry,), told = decide(ROTATION)
    assert (status, told) == (0, "")
    assert entry == [
        recipe(7, "archive-nexus"),
        recipe(7, "per-image-analysis-rotation-swmr"),
        recipe(7, "processing-rlv-eiger"),
        recipe(7, "generate-diffraction-preview"),
        recipe(7, "processing-mmcif-gen"),
        job("autoprocessing-fast-dp-eiger", "fast_dp", autostart=True),
        job("autoprocessing-xia2-dials-eiger", "xia2 dials", parameters=[CC, MEDIUM]),
        job("autoprocessing-xia2-3dii-eiger", "xia2 3dii", parameters=[CC]),
        job("autoprocessing-autoPROC-eiger", "autoPROC"),
    ]
    assert list(entry[-1]) == list(job("", ""))  # the keys' order too


def test_what_is_known_of_the_crystal_the_group_and_the_cloud_counts(decide):
    status, (entry,), told = decide(ROTATION | KNOWN)
    assert (status, told) == (0, "")
    symmetry = [("spacegroup", "P1211"), ("unit_cell", "50,60.5,70,90,101,90")]
    cloud, high = [("statistic-cluster", "iris")], ("absorption_level", "high")
    jobs = [one for one in entry if one["type"] == "job"]
    assert job("autoprocessing-fast-dp-eiger", "fast_dp", autostart=True, parameters=symmetry[:1]) == jobs[0]
    assert job("autoprocessing-autoPROC-eiger", "autoPROC", autostart=True, parameters=symmetry) in jobs
    assert (
        job("autoprocessing-xia2-dials-eiger-cloud", "xia2 dials", parameters=[CC, *symmetry, high], variables=cloud)
        in jobs
    )
    multi = [one for one in jobs if one["recipe"].startswith("autoprocessing-multi-xia2-3dii")]
    assert [one["sweeps"] for one in multi] == [[[7, 1, 100], [9, 1, 200]]] * 2


def test_each_scenario_has_an_entry_and_an_invalid_one_an_error(decide):
    wrong = [
        {**START, "dcid": "x"},
        {**START, "event": "stop"},
        5,
        None,
        [],
        {},
        {**ROTATION, "sweep_list": [[7, 2, 1]]},
    ]
    status, entries, told = decide([START, *wrong, {**START, "event": "start_group"}])
    assert status == 1
    assert entries[0] == [recipe(8, "archive-cbfs"), recipe(8, "per-image-analysis-gridscan")]
    assert entries[-1] == []
    assert [list(entry) for entry in entries[1:-1]] == [["error"]] * len(wrong)
    assert "seen 'x'" in entries[1]["error"]
    assert "start-group" in entries[2]["error"]
    assert told == ""


def test_no_scenario_is_a_list_of_none(decide):
    assert decide([]) == (0, [], "")


def test_facts_that_make_no_sense_are_told_of_and_left_out(decide):
    status, (right, entry), told = decide([ROTATION, ROTATION | {"unit_cell": [1, 2, 3], "space_group": "P7"}])
    assert (status, entry) == (0, right)
    lines = told.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("plaza: warning: scenario 1, data collection 7: ") for line in lines)


def test_beamline_that_no_rule_knows_is_told_once(decide):
    status, entries, told = decide([{**ROTATION, "beamline": "i99"}] * 3)
    assert (status, entries) == (0, [[], [], []])
    assert told.count("no rule knows beamline 'i99'") == 1


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("{", "seen what is none"),
        ("7", "seen 7"),
        ('"text"', "seen 'text'"),
        ("", "seen what is none"),
        ("[" * 100_000, "seen what is none"),
        ("[" + "9" * 5000 + "]", "seen what is none"),
    ],
)
def test_file_with_something_else_is_refused(decide, content, seen):
    with pytest.raises(PlazaError, match=r"scenarios\.json: expected JSON with a scenario") as raised:
        decide(content)
    assert seen in str(raised.value)


def test_file_that_is_not_there_is_told(tmp_path):
    done = CliRunner().invoke(app, ["mimas", "decide", str(tmp_path / "none.json")])
    assert isinstance(done.exception, PlazaError)
    assert "none.json can't be read: No such file or directory" in str(done.exception)


def test_standard_input_is_read():
    done = CliRunner().invoke(app, ["mimas", "decide", "-"], input=b"\xef\xbb\xbf" + json.dumps(START).encode())
    assert len(json.loads(done.stdout)) == 1


def test_reasons_are_beside_the_list(decide):
    without = decide([START])
    status, entries, told = decide([START], "--explain")
    assert (status, entries) == without[:2]
    lines = told.splitlines()
    assert lines[0] == "scenario 0: 8 · i03 · grid scan · Pilatus · start"
    assert "  Pilatus grid scan starts: matched, asks for archive-cbfs, per-image-analysis-gridscan" in lines
    assert "  Eiger grid scan starts on i03: did not match (detector is EIGER: no, it is PILATUS)" in lines


RULES = """
from flows.mimas.decision import Rule
from flows.mimas.predicates import beamline_is
from flows.mimas.rules.asking import recipes
print("a rule file may print")
def broken(scenario):
    raise RuntimeError("no such luck")
RULES = (
    Rule("ours", beamline_is("i24"), recipes("our-recipe")),
    Rule("broken", beamline_is("i24"), broken),
)
SWITCHED_OFF = ("Eiger files are complete",)
"""


def test_rules_are_tried_out(decide, tmp_path):
    file = tmp_path / "rules.py"
    file.write_text(RULES)
    status, (entry, other), told = decide([ROTATION, START], "--rules", file)
    assert status == 1
    names = [one["recipe"] for one in entry]
    assert names[-1] == "our-recipe"
    assert "archive-nexus" not in names
    assert len(other) == 2
    assert "a rule file may print" in told
    assert "rule 'broken' raised RuntimeError: no such luck (rules.py, line 7); in 1 of the scenarios" in told


def test_faulty_rules_of_the_site_are_told_and_the_others_decide(decide, tmp_path, monkeypatch):
    file = tmp_path / "rules.py"
    file.write_text(RULES.replace("SWITCHED_OFF", "raise ValueError('mend me')\nSWITCHED_OFF"))
    monkeypatch.setenv("PLAZA_MIMAS_RULES", str(file))
    get_settings.cache_clear()
    status, (entry,), told = decide(START)
    assert (status, len(entry)) == (0, 2)
    assert "mend me" in told


def test_file_that_can_not_be_tried_out_is_an_error(decide, tmp_path):
    file = tmp_path / "rules.py"
    file.write_text("RULES = 7\n")
    with pytest.raises(PlazaError, match="expected RULES to be a tuple"):
        decide(START, "--rules", file)
    assert decide(START, "--rules", tmp_path / "none.py")[0] == 2


def test_two_thousand_scenarios_take_less_than_five_seconds_and_nothing_heavy(tmp_path):
    file = tmp_path / "scenarios.json"
    file.write_text(json.dumps([ROTATION | KNOWN | {"dcid": number} for number in range(1, 2001)]))
    program = (
        "import sys; from flows.cli import main\n"
        "sys.argv[0] = 'plaza'\n"
        "try: main()\n"
        "finally: print([m for m in ('prefect', 'sqlalchemy', 'cctbx', 'numpy', 'dask') if m in sys.modules],"
        " file=sys.stderr)"
    )
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", program, "mimas", "decide", str(file)], capture_output=True, text=True, check=True
    )
    spent = os.times().children_user - before.children_user  # whatever else the machine does
    assert len(json.loads(done.stdout)) == 2000
    assert done.stderr == "[]\n"
    assert spent < 5
