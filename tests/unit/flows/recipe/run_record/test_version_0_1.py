"""Recipe runs that Plaza 0.1 left behind can be shown, gone on with, and dealt with."""
# ruff: noqa: E501 - a journal's lines are long

import json
import sys

import pytest

from blocks.settings import get_settings
from flows.cli import main
from flows.recipe.run_record.activity import RunEnd
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.entries import Began, HistoryEntry
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.history import message_status, read_history
from flows.recipe.run_record.journal import Journal, read_journal
from flows.recipe.run_record.manifest import read_manifest
from flows.recipe.run_record.resumption import repeat_from, take_up
from tasks.step import Send, StepParameters, message_step, stream_step
from tests.support.engine_runs import Engine

RECIPE = {
    "1": {"queue": "filewatcher", "output": {"every": [2, 3]}},
    "2": {"queue": "notify_gda"},
    "3": {"queue": "images", "transport-delay": 0.01},
    "start": [[1, 3]],
}
LOGBOOK = {
    "recipe": "try-it",
    "file": "/recipes/try-it.json",
    "digest": "abc",
    "dcid": 7,
    "received": {"ispyb_dcid": 7},
    "parameters": {"ispyb_dcid": 7},
    "filled": RECIPE,
    "changes": [],
    "versions": {"plaza": "0.1.0"},
    "ended": {"at": 1037.9, "state": "Failed", "message": "step 2"},
}

# As it was written: a fault that passed, one message that was refused, re-injected and refused again, and a repeat of
# node 3. Lines that begin with a blank hold what orjson can't write.
JOURNAL = r"""
{"began":{"at":1017.91,"host":"i03-ws","pid":42,"user":"gda"}}
{"at":1017.91,"node":0,"sends":[{"to":[[1,1]],"output":null,"payload":3}]}
{"at":1017.92,"node":1,"sends":[{"to":[[2,2],[3,3,1017.93]],"output":"every","payload":{"file":"/0.cbf"},"follows":1,"environment":{"ID":"run-1","n":0}}],"done":[]}
{"at":1017.92,"node":1,"sends":[{"to":[[2,4],[3,5,1017.93]],"output":"every","payload":{"file":"/1.cbf"},"follows":1,"environment":{"ID":"run-1","n":1}}],"done":[]}
{"at":1017.92,"node":1,"sends":[{"to":[[2,6],[3,7,1017.93]],"output":"every","payload":{"file":"/2.cbf"},"follows":1,"environment":{"ID":"run-1","n":2}}],"done":[]}
{"at":1017.92,"node":1,"done":[1]}
{"at":1017.92,"node":2,"tried":2,"error":"PassingFault: no route"}
 {"at": 1017.92, "node": 2, "refused": 4, "error": "MessageRefused: bad \ud83d", "sends": []}
{"at":1017.92,"node":2,"done":[6]}
{"at":1017.92,"node":2,"done":[2]}
{"at":1017.93,"node":3,"done":[3,5,7]}
{"ended":{"at":10.0,"state":"Failed","message":"step 2"}}
 {"at": 1017.93, "node": 0, "sends": [{"to": [[2, 1000007]], "payload": {"file": "/1.cbf"}, "again": 4, "replaces": 4, "history": [{"at": 1017.92, "error": "MessageRefused: bad \ud83d"}, {"at": 1017.93, "done": "re-injected", "by": "gda"}], "environment": {"ID": "run-1", "n": 1}}]}
{"began":{"at":1017.93,"host":"i03-ws","pid":42,"user":"gda"}}
 {"at": 1017.93, "node": 2, "refused": 1000007, "error": "MessageRefused: bad \ud83d", "sends": []}
{"ended":{"at":10.0,"state":"Failed","message":"step 2"}}
 {"at": 1017.93, "node": 0, "sends": [{"to": [[2, 2000007]], "payload": {"file": "/1.cbf"}, "again": 4, "replaces": 1000007, "history": [{"at": 1017.92, "error": "MessageRefused: bad \ud83d"}, {"at": 1017.93, "done": "re-injected", "by": "gda"}, {"at": 1017.93, "error": "MessageRefused: bad \ud83d"}], "environment": {"ID": "run-1", "n": 1}}]}
{"repeated":[3],"at":1017.93,"node":0,"sends":[{"to":[[3,3000007]],"payload":{"file":"/0.cbf"},"again":3,"replaces":3,"history":[],"environment":{"ID":"run-1","n":0}},{"to":[[3,3000008]],"payload":{"file":"/1.cbf"},"again":5,"replaces":5,"history":[],"environment":{"ID":"run-1","n":1}},{"to":[[3,3000009]],"payload":{"file":"/2.cbf"},"again":7,"replaces":7,"history":[],"environment":{"ID":"run-1","n":2}}]}
{"at":1038.0,"node":3,"do"""  # its process was killed

LETTER = """
{"recipe_run":"run-1","number":1000007,"recipe":"try-it","dcid":7,"node":2,"step":"notify_gda","queue":"notify_gda",
"payload":{"file":"/1.cbf"},"environment":{"ID":"run-1","n":1},"error":"MessageRefused: bad","traceback":"Traceback",
"history":[{"at":1017.9,"error":"MessageRefused: bad"},{"at":1017.9,"done":"re-injected","by":"gda"}],"at":1.0,
"host":"i03-ws"}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    get_settings.cache_clear()
    folder = run_folder("run-1")
    folder.path.mkdir(parents=True)
    (folder.path / "logbook.json").write_text(json.dumps(LOGBOOK))
    folder.journal.write_text(JOURNAL.lstrip("\n"))
    yield folder
    get_settings.cache_clear()


def statuses(folder):
    return {number: message_status(message).words for number, message in read_history(folder).state.all.items()}


def test_every_message_of_it_is_known_with_what_became_of_it(folder):
    assert statuses(folder) == {
        **dict.fromkeys((1, 2, 6), "done"),
        4: "sent again as 1000007",
        1000007: "sent again as 2000007",
        **{number: f"sent again as {later}" for number, later in ((3, 3000007), (5, 3000008), (7, 3000009))},
        **dict.fromkeys((2000007, 3000007, 3000008, 3000009), "waits"),
    }
    history = read_history(folder)
    assert history.complaints == ()
    assert [node.received for node in history.progress.values()] == [1, 2, 0]
    assert [node.retried for node in history.progress.values()] == [0, 1, 0]
    first, again = history.state.attempts
    assert first.began == Began(1017.91, "i03-ws", 42, "gda")
    assert again.ended is not None
    last = history.state.all[2000007]
    assert (last.payload, last.environment) == ({"file": "/1.cbf"}, {"ID": "run-1", "n": 1})
    assert last.history == [
        HistoryEntry(1017.92, "MessageRefused: bad \ud83d"),
        HistoryEntry(1017.93, done="re-injected", by="gda"),
        HistoryEntry(1017.93, "MessageRefused: bad \ud83d"),
    ]


def test_it_can_be_shown(folder, monkeypatch, capsys):
    for words in ([], ["run-1"], ["run-1", "--all"], ["run-1", "--json"]):
        monkeypatch.setattr(sys, "argv", ["plaza", "show", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0, printed.err) == (0, "")
        assert "Failed: step 2" in printed.out


def test_following_its_log_ends_as_it_has_ended(folder):
    assert RunEnd(folder)()


async def test_it_goes_on_where_it_was_and_is_repeated(folder):
    engine, seen = Engine(), []

    @stream_step(queue="filewatcher", parameters=StepParameters, outputs=("every",), default_output="every")
    async def watch(parameters, inbox, context):
        async for message in inbox:
            for number in range(message.payload):
                yield Send({"file": f"/{number}.cbf"}, "every", follows=message)
            context.done(message)

    def note(queue):
        @message_step(queue=queue, parameters=StepParameters)
        async def note(parameters, message, context):
            seen.append((queue, message.payload["file"], message.number))
            return ()

        return note

    async def go():
        with Journal(folder.journal) as journal:
            state = take_up(folder, journal, DeadLetters())
            await engine.run(RECIPE, watch, note("notify_gda"), note("images"), journal=journal, state=state)

    await go()
    assert sorted(seen) == [
        *(("images", f"/{number}.cbf", 3000007 + number) for number in range(3)),
        ("notify_gda", "/1.cbf", 2000007),
    ]
    assert not read_history(folder).state.waiting
    repeat_from(folder, 2, {"gda_host": "elsewhere"}, DeadLetters())
    seen.clear()
    await go()
    assert sorted(seen) == [("notify_gda", f"/{number}.cbf", 4000009 + number) for number in (0, 1, 2)]
    assert [file.name for file in folder.path.glob("*.json")] == ["logbook.json"]  # one, under its old name
    assert read_manifest(folder).filled_recipe().nodes[2]["parameters"] == {"gda_host": "elsewhere"}


def test_lines_of_both_versions_are_read_in_order(folder):
    before = list(read_journal(folder.journal))
    with Journal(folder.journal) as journal:
        journal.record(Began(1040.0, "i04-ws", 43, "gda"))
    assert list(read_journal(folder.journal)) == [*before, Began(1040.0, "i04-ws", 43, "gda")]


def test_its_dead_letters_are_read_and_re_injected(folder):
    letters = DeadLetters()
    letters.folder.mkdir()
    (letters.folder / "run-1-1000007.json").write_text(LETTER)
    letter = letters.get("run-1-1000007")
    assert letter.history[-1] == HistoryEntry(1017.9, done="re-injected", by="gda")
    letters.reinject(letter, folder)
    assert folder.has_reinjected
    assert list(letters.all()) == []
