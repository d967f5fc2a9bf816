"""`plaza step run`, as one who debugs a recipe uses it: no server, one node, payloads a line each."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.grid_information import grid_information

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()", "step", "run"]

NO_FIELD = {"pattern": "no-field.cbf", "pattern-start": 1, "pattern-end": 2}


@pytest.fixture
def run_node(tmp_path):
    """Run a node on payloads; return the exit status, what was sent and what standard error says."""

    def run(node, *payloads, lines=None):
        (tmp_path / "node.json").write_text(node if isinstance(node, str) else json.dumps(node))
        words = ["--node", str(tmp_path / "node.json")]
        if payloads or lines is not None:
            text = lines if lines is not None else "".join(json.dumps(payload) + "\n" for payload in payloads)
            (tmp_path / "messages.jsonl").write_text(text)
            words += ["--messages", str(tmp_path / "messages.jsonl")]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
        done = subprocess.run(
            [*COMMAND, *words],
            env={**environment, "PLAZA_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return run


def test_sent_messages_are_printed_in_order(run_node, tmp_path):
    for number in (1, 2):
        (tmp_path / f"x_{number}.cbf").write_text("image")
    node = {
        "queue": "filewatcher",
        "parameters": {"pattern": f"{tmp_path}/x_%d.cbf", "pattern-start": "1", "pattern-end": "2", "timeout": "5"},
        "output": {"first": 2, "every": 3, "finally": 4},
    }
    status, sent, _ = run_node(node)
    assert status == 0
    assert [line["output"] for line in sent] == ["first", "every", "every", "finally"]
    assert sent[2]["payload"]["file"] == f"{tmp_path}/x_2.cbf"
    assert sent[-1]["payload"] == {"files-expected": 2, "files-seen": 2, "success": True}


GRID = grid_information(2, 2)


@pytest.mark.parametrize(
    ("gridinfo", "sent", "told"),
    [
        (GRID, ["abort"], ["left undone 3 messages: data collection 1 isn't centred: 1 of 4 images didn't come: 4"]),
        ({}, [], ["refused {", "has no grid information", "left undone 2 messages: data collection 1 has no grid"]),
    ],
)
def test_what_a_step_leaves_undone_is_told_once(run_node, gridinfo, sent, told):
    parameters = {"dcid": 1, "beamline": "i03"}
    node = {"queue": "reduce.xray_centering", "parameters": parameters, "gridinfo": gridinfo, "output": {"success": 2}}
    images = [{"file-number": number, "n_spots_total": 5, "file-seen-at": 1.0} for number in (1, 2, 3)]
    status, lines, errors = run_node(node, *images)
    assert (status, [line["output"] for line in lines]) == (1, sent)
    assert all(errors.count(words) >= 1 for words in told)
    assert errors.count("\nrefused ") + errors.startswith("refused ") <= 1


def test_a_refused_message_is_told_and_the_others_are_handled(run_node):
    node = {"service": "DLS Notify GDA", "parameters": {"dcid": 1, "host": "mx-control", "port": 9}}
    status, sent, errors = run_node(node, {"file-number": 1, "n_spots_total": 5}, {"no": "number"})
    assert (status, sent) == (1, [])
    assert errors.count("refused") == 1
    assert "file-number" in errors


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        ("no json", "can't be read as JSON"),
        ("[]", "expected a JSON object"),
        ("[" * 100_000, "can't be read as JSON"),
        ({"queue": ["filewatcher"]}, "asks for queue ['filewatcher']"),
        ({"queue": "tea.making"}, "node 1 asks for queue 'tea.making'"),
        ({"queue": "filewatcher", "parameters": NO_FIELD, "output": {"every": 2}}, "exactly one"),
        ({"queue": "archive.pattern", "parameters": {}}, "visit"),
        ({"queue": "ispyb_connector", "parameters": {"ispyb_command": "make_coffee"}}, "make_coffee"),
        ({"queue": "images", "parameters": {"image_command": "diffraction", "file": "/no/such.cbf"}}, "/no/such.cbf"),
        ({"queue": "per_image_analysis", "parameters": {}}, "file"),
        ({"queue": "reduce.xray_centering", "parameters": {}}, "parameters"),
        ({"queue": "nexusparser.find_related_files", "parameters": {}}, "file"),
        ({"queue": "mailnotification", "parameters": {}}, "recipient"),
    ],
)
def test_what_can_not_be_run_exits_with_1_and_says_why(run_node, node, complaint):
    status, sent, errors = run_node(node)
    assert (status, sent) == (1, [])
    assert complaint in errors
    assert "Traceback" not in errors


def test_a_message_file_that_is_no_json_is_named_with_its_line(run_node):
    status, _, errors = run_node({"queue": "images"}, lines='{"a": 1}\nnot json\n')
    assert status == 1
    assert "line 2" in errors


def test_a_message_that_nests_too_deep_is_no_crash(run_node):
    status, _, errors = run_node({"queue": "images"}, lines="[" * 100_000 + "\n")
    assert status == 1
    assert "line 1" in errors
    assert "Traceback" not in errors


def test_a_message_ends_at_the_end_of_its_line_only(run_node):
    node = {"queue": "nexusparser.find_related_files", "parameters": {}}
    message = json.dumps({"file": "/no\u2028\x85.nxs"}, ensure_ascii=False)
    status, sent, errors = run_node(node, lines=f"{message}\r\n\n")
    assert status == 0, errors
    assert [line["payload"] for line in sent] == ["File /no\u2028\x85.nxs not found"]


@pytest.mark.dials
@pytest.mark.real_data
def test_an_image_is_analysed_without_any_server(run_node, real_data):
    image = next((real_data / "l_cysteine").glob("*_00001.cbf.gz"))
    status, sent, errors = run_node({"queue": "per_image_analysis", "parameters": {}}, {"file": str(image)})
    assert status == 0, errors
    [line] = sent
    assert line["output"] == "result"
    assert line["payload"]["file"] == str(image)
    assert line["payload"]["n_spots_total"] >= 0


def test_an_ispyb_that_is_not_there_is_told_of_and_not_made(run_node, tmp_path, monkeypatch):
    monkeypatch.delenv("PLAZA_ISPYB_URL", raising=False)
    node = {"queue": "ispyb_connector", "parameters": {"ispyb_command": "register_processing", "program": "xia2"}}
    status, sent, errors = run_node(node, {})
    assert (status, sent) == (1, [])
    file = tmp_path / "home" / "ispyb.sqlite"
    assert f"there is no ISPyB at sqlite:///{file}: make it with `plaza ispyb create`" in errors
    assert not file.parent.exists()
