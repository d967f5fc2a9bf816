"""`plaza show`: the history of a recipe run, whatever state its files are in."""

import asyncio
import json
import os
import re
import sys

import pytest
from msgspec import structs

from flows.cli import main
from flows.mimas.record import DecisionRecord, mimas_run_folder
from flows.mimas.scenario import DCClass, Event, Scenario
from flows.recipe.run_record.children import Child, note_children
from flows.recipe.run_record.entries import (
    Began,
    Done,
    Ended,
    Failed,
    HistoryEntry,
    Receiver,
    Refused,
    Repeated,
    Sent,
    SentMessage,
)
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.history import latest_runs, message_status, read_history
from flows.recipe.run_record.journal import Journal
from flows.recipe.run_record.lenient_json import encode
from flows.recipe.run_record.manifest import Manifest
from flows.recipe.run_record.recipe_ids import note_recipe_id, recipe_id_of

RUN = "0b1c2d3e-0000-4000-8000-000000000001"
OTHER, THIRD = "1c1c2d3e-0000-4000-8000-000000000002", "2d1c2d3e-0000-4000-8000-000000000003"
SCENARIO = Scenario(dcid=7, dc_class=DCClass.ROTATION, event=Event.END, beamline="i03")
DOCUMENT = {
    "1": {"queue": "filewatcher", "parameters": {"list": ["/a.cbf"]}, "output": {"every": 2}},
    "2": {"queue": "notify_gda", "output": 3},
    "3": {"queue": "images"},
    "start": [[1, []]],
}
BEGAN = Began(1000.0, "i03-ws", 42, "gda")
START = Sent(1000.5, 0, [SentMessage([Receiver(1, 1)], [])])


def sent(node, to, payload="x", follows=None):
    return Sent(1001.0, node, [SentMessage([Receiver(*to)], payload, "every", follows)])


def sent_again(to, payload, again, history=None):
    return SentMessage([Receiver(*to)], payload, again=again, replaces=again, history=history)


JOURNAL = [
    BEGAN,
    START,
    *(sent(1, (2, number), {"file": f"/{number}.cbf"}, follows=1) for number in range(2, 10)),
    Done(1002.0, 1, [1]),
    Failed(1003.0, 2, 2, "OSError: no route"),
    Refused(1004.0, 2, 2, "ValueError: \x1b[31mbad"),
    Done(1005.0, 2, [3, 4, 5, 6, 7, 8]),
]
ENDED = Ended(1010.0, "Failed", "step 2: 1 of 8")


@pytest.fixture
def folder(home):
    folder = run_folder(RUN)
    folder.path.mkdir(parents=True)
    return folder


@pytest.fixture
def plaza(home, monkeypatch, capsys):
    """Run the command line: its exit status, what it printed, and what it complained of."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plaza", "show", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return ended.value.code or 0, printed.out, printed.err

    return run


def write_manifest(folder, **changes):
    given = {
        "recipe": "try-it",
        "file": "/recipes/try-it.json",
        "digest": "abc123",
        "dcid": 7,
        "received": {"colour": "blue", "dc": {"dir": "/" + "d" * 500}},
        "parameters": {"colour": "blue", "gda_host": "mx-control"},
        "filled": DOCUMENT,
    }
    Manifest(**given | changes).write(folder)


def lines(entries):
    return b"".join(encode(entry) + b"\n" for entry in entries)


def write_journal(folder, entries):
    folder.journal.write_bytes(lines(entries))


@pytest.fixture
def run(folder):
    write_manifest(folder, ended=structs.asdict(ENDED))
    write_journal(folder, [*JOURNAL, ENDED])
    return folder


def test_the_whole_history_is_told(plaza, run):
    status, printed, complaints = plaza("0b1c")
    assert (status, complaints) == (0, "")
    for part in (
        f"recipe run   {RUN}",
        "try-it for dcid 7",
        "Failed: step 2: 1 of 8",
        "process 42 of gda on i03-ws, 10.0 s: Failed",
        "/recipes/try-it.json",
        "abc123",
        "plaza 0.1.0",
        "2 notify_gda",
        "1 · watch_files: 1 done",
        "2 · notify_gda: 1 refused, 6 done, 1 waits",
        "3 · make_preview: no messages",
        "from the start, done",
        '{"file": "/2.cbf"}',
        "OSError: no route",
        "ValueError: ",
        "… and 3 more",
    ):
        assert part in printed
    assert re.search(r"colour +blue", printed)
    assert re.search(r"gda_host +mx-control", printed)
    assert "d" * 200 not in printed
    assert "\x1b" not in printed


def test_messages_that_need_somebody_come_first_of_all(plaza, run):
    _, printed, _ = plaza("0b1c", "--messages", 2)
    assert "/2.cbf" in printed
    assert "/9.cbf" in printed
    assert "/3.cbf" not in printed
    assert "… and 6 more" in printed


def test_all_is_all(plaza, run):
    _, printed, _ = plaza("0b1c", "--all")
    assert "d" * 500 in printed
    assert all(f"/{number}.cbf" in printed for number in range(2, 10))
    assert '"queue": "notify_gda"' in printed


@pytest.mark.parametrize("step", ["2", "notify_gda"])
def test_a_step_s_messages_are_shown_alone(plaza, run, step):
    _, printed, _ = plaza("0b1c", "--step", step)
    assert printed.strip().startswith("2 · notify_gda: 1 refused")
    assert "watch_files" not in printed
    assert printed.count(".cbf") == 8


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nothing"], "no recipe run 'nothing'"),
        (["0b1c", "--step", "9"], "has no step '9'; its steps: 1 · watch_files, 2 · notify_gda, 3 · make_preview"),
    ],
)
def test_what_is_not_there_is_a_line(plaza, run, words, complaint):
    status, printed, told = plaza(*words)
    assert (status, printed) == (1, "")
    assert complaint in told


def test_the_history_as_json_is_whole(plaza, run):
    _, printed, _ = plaza("0b1c", "--json")
    history = json.loads(printed)
    assert history["recipe_run"] == RUN
    assert history["manifest"]["received"]["dc"]["dir"] == "/" + "d" * 500
    assert history["attempts"] == [{"began": structs.asdict(BEGAN), "ended": structs.asdict(ENDED)}]
    assert [step["state"] for step in history["steps"]] == ["done", "failed", "not needed"]
    statuses = {message["number"]: message["status"]["words"] for message in history["messages"]}
    assert statuses == {1: "done", 2: "refused", **dict.fromkeys(range(3, 9), "done"), 9: "waits"}
    assert len(json.loads(plaza("0b1c", "--json", "--step", 2, "--messages", 3)[1])["messages"]) == 3


def statuses_of(folder, *entries):
    write_journal(folder, [*JOURNAL, *entries])
    messages = read_history(folder).state.all
    return {number: message_status(message).words for number, message in messages.items()}


def test_messages_that_were_sent_again_lead_to_each_other(folder, plaza):
    write_manifest(folder)
    again = sent_again((2, 10), "y", 2, [HistoryEntry(1.0, done="re-injected", by="me")])
    statuses = statuses_of(folder, Sent(1011.0, 0, [again]))
    assert statuses[2] == "sent again as 10"
    assert statuses[10] == "waits"
    _, printed, _ = plaza("0b1c", "--all")
    assert "message 2 once more" in printed
    assert "re-injected by me" in printed


def test_messages_of_nodes_that_began_anew_are_forgotten(folder):
    again = sent_again((2, 10), "y", 3)
    statuses = statuses_of(folder, Repeated(1011.0, [2], [again]))
    assert statuses[3] == "sent again as 10"
    assert statuses[2] == statuses[9] == "forgotten: its node began anew"
    assert statuses[1] == "done"


def test_messages_that_will_be_tried_again_or_later(folder):
    statuses = statuses_of(
        folder,
        Failed(1011.0, 2, 9, "E"),
        sent(0, (3, 10, 4e9)),
        sent(0, (3, 11, 5.0)),
    )
    assert (statuses[9], statuses[10], statuses[11]) == ("failed, will be tried again", "is delayed", "waits")


def test_every_attempt_is_told(folder):
    write_journal(folder, [BEGAN, START, BEGAN, ENDED, BEGAN])
    assert [attempt.ended for attempt in read_history(folder).state.attempts] == [None, ENDED, None]


@pytest.mark.parametrize(
    ("has_manifest", "is_held", "ended", "state"),
    [
        (True, True, None, "at work"),
        (True, False, None, "not at work, and not at its end: its process was killed"),
        (True, False, {"state": "Completed", "message": "2 steps done"}, "Completed: 2 steps done"),
        (False, True, None, "reads what its recipe asks for"),
        (False, False, None, "failed before its recipe was filled (see `plaza logs 0b1c"),
    ],
)
def test_how_a_run_stands(folder, plaza, has_manifest, is_held, ended, state):
    if has_manifest:
        write_manifest(folder, ended=ended)
    journal = Journal(folder.journal) if is_held else None
    try:
        assert plaza("0b1c")[0] == 0
        assert state in plaza("0b1c")[1]
        assert state in plaza()[1]
        assert json.loads(plaza("--json")[1])["state"].startswith(state)
        assert json.loads(plaza("0b1c", "--json")[1])["state"].startswith(state)
    finally:
        if journal:
            journal.close()


def test_every_moment_of_a_journal_that_is_being_written_can_be_shown(folder, plaza):
    write_manifest(folder)
    whole = lines(JOURNAL[:5])
    for end in range(0, len(whole), 7):
        folder.journal.write_bytes(whole[:end])
        history = read_history(folder)
        assert history.complaints == ()
        assert len(history.state.all) == whole[:end].count(b'"to"') - (b'"to"' in whole[:end].rpartition(b"\n")[2])
    assert plaza("0b1c")[0] == 0


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("manifest", b"{", "manifest.json can't be read"),
        ("manifest", b'{"changes": [], "mood": 1}', "manifest.json can't be read"),
        ("manifest", b"\xff\x00", "manifest.json can't be read"),
        ("journal", b'{"at": 1\n{"began": {}}\n', "line 1 of "),
        ("journal", b"\x00\x00\x00\n", "line 1 of "),
        ("journal", b'{"sends": [{}]}\n', "line 1 of "),
        ("journal", b'{"began": 3, "sends": 3}\n', "line 1 of "),
        ("journal", b'{"type": "sent", "at": 1.0, "node": 1}\n', "line 1 of "),
        ("journal", b'{"type": "dreamt", "at": 1.0}\n', "line 1 of "),
        ("journal", b'[]\n"x"\n3\n', "line 3 of "),
        ("journal", b'{"type": "refused", "at": 1.0, "node": 1, "number": 78, "error": "E"}\n', ""),
        ("journal", b'{"type": "done", "at": 1.0, "node": 1, "done": [77]}\n', ""),
        ("journal", b'{"type": "failed", "at": 1.0, "node": 1, "number": 79, "error": "E"}\n', ""),
    ],
)
def test_damaged_files_are_told_and_the_rest_is_shown(run, plaza, file, content, complaint):
    getattr(run, file).write_bytes(content)
    status, printed, told = plaza("0b1c", "--all")
    assert status == 0
    assert RUN in printed
    assert complaint in told
    assert json.loads(plaza("0b1c", "--json")[1])["recipe_run"] == RUN
    assert RUN in plaza()[1]


def test_a_recipe_with_a_step_that_nobody_has_any_more_is_shown(folder, plaza):
    write_manifest(folder, filled={"1": {"queue": "crystal.ball"}, "start": [[1, []]]})
    write_journal(folder, [BEGAN, START])
    assert "1 · crystal.ball: 1 waits" in plaza("0b1c")[1]


def called(guid, flow_run):
    note_recipe_id(recipe_id_of({"guid": guid}, flow_run), flow_run)


def test_recipe_id_parent_and_children_are_told(folder, plaza):
    write_manifest(folder, recipe_id="a/guid\n", parent=OTHER)
    write_journal(folder, JOURNAL)
    called("a/guid", RUN)
    parent = run_folder(OTHER)
    parent.path.mkdir()
    write_manifest(parent, recipe_id="the-parents")
    note_children(parent, [Child(RUN, "try-it · dcid 7", "a/guid", 2), Child(THIRD, "mimas end · dcid 7", THIRD, 2)])
    printed = plaza("a/guid")[1]
    assert re.search(r"recipe ID +a/guid", printed)
    assert f"recipe run {OTHER} (recipe ID the-parents)" in printed
    printed = plaza(OTHER)[1]
    assert f"try-it · dcid 7: flow run {RUN} (recipe ID a/guid), by node 2" in printed
    assert f"mimas end · dcid 7: flow run {THIRD}, by node 2" in printed
    shown = json.loads(plaza(OTHER, "--json")[1])
    assert [child["flow_run"] for child in shown["children"]] == [RUN, THIRD]
    assert (shown["recipe_ID"], shown["parent"]) == ("the-parents", None)
    listed = plaza()[1].splitlines()
    assert "recipe ID" in listed[0]
    assert any("the-parents" in line for line in listed)


def test_run_of_mimas_is_found_by_either_id(home, plaza):
    decided = mimas_run_folder(RUN)
    record = DecisionRecord(scenario=SCENARIO, recipes=(), jobs=(), rules=(), recipe_id="a/guid")
    asyncio.run(decided.keep(record))
    called("a/guid", RUN)
    for name in (RUN, RUN[:6], "a/guid", "aguid"):
        _, printed, _ = plaza(name)
        assert f"run of Mimas {RUN}, recipe ID a/guid" in printed
    assert json.loads(plaza("a/guid", "--json")[1])["scenario"]["dcid"] == 7


def test_run_of_mimas_that_has_decided_nothing_yet_is_told_so(home, plaza):
    mimas_run_folder(RUN).path.mkdir(parents=True)
    status, _, told = plaza(RUN)
    assert status == 1
    assert f"plaza logs {RUN}" in told


def test_guid_of_mimas_and_of_a_recipe_names_both(folder, plaza):
    for path in (mimas_run_folder(OTHER).path, run_folder(RUN).path):
        path.mkdir(parents=True, exist_ok=True)
        called("of-both", path.name)
    status, _, told = plaza("of-both")
    assert status == 1
    assert all(run in told for run in (RUN, OTHER, "say which"))


def test_the_latest_runs_are_listed_first(home, plaza):
    assert plaza() == (0, "No recipe has run so far.\n", "")
    for number in range(4):
        folder = run_folder(f"{number}0000000-0000-4000-8000-000000000000")
        folder.path.mkdir(parents=True)
        write_manifest(
            folder, recipe=f"recipe-{number}", dcid=None if number == 2 else number, ended=structs.asdict(ENDED)
        )
        write_journal(folder, [BEGAN])
        os.utime(folder.path, (number, number))
    _, printed, _ = plaza("--latest", 3)
    title, *lines = printed.splitlines()
    assert title.split() == ["recipe", "run", "recipe", "dcid", "began", "state"]
    assert [line.split()[1] for line in lines] == ["recipe-3", "recipe-2", "recipe-1"]
    assert [run.at for run in latest_runs(home / "recipe-runs", 9)] == [1000.0] * 4
