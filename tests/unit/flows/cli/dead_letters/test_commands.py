"""`plaza dlq …` on the command line, except for what needs a running site."""

import json
import re
import sys
import time

import pytest

from blocks.settings import get_settings
from flows.cli import main
from flows.recipe.run_record.dead_letters.dead_letter import DeadLetter, read_dead_letter
from flows.recipe.run_record.dead_letters.store import DeadLetters
from flows.recipe.run_record.entries import HistoryEntry

RUN = "0b1c2d3e-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture
def letters(home):
    return DeadLetters()


@pytest.fixture
def plaza(home, monkeypatch, capsys):
    """Run the command line: its exit status, what it printed, and what it complained of."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plaza", "dlq", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return ended.value.code or 0, printed.out, printed.err

    return run


def letter(number=3, age_s=7200.0, **changes):
    given = {
        "recipe_run": RUN,
        "number": number,
        "recipe": "trial",
        "dcid": 7,
        "node": 1,
        "step": "choosy",
        "queue": "trial.choosy",
        "payload": {"good": False},
        "environment": {"ID": RUN},
        "error": "ValueError: bad\nreally",
        "traceback": "Traceback: line 1",
        "history": [HistoryEntry(1.0, "ValueError: bad")],
        "at": time.time() - age_s,
    }
    return DeadLetter(**given | changes)


def test_no_dead_letters_is_good(plaza):
    assert plaza("list") == (0, "No dead letters.\n", "")
    assert plaza("list", "--json") == (0, "", "")


@pytest.mark.parametrize(
    ("others", "words"),
    [(3599, "3599 more messages of its node wait with it"), (0, "its node can't use any"), (None, None)],
)
def test_what_a_dead_letter_stands_for_is_told(plaza, letters, others, words):
    letters.put(letter(others=others))
    for command in (["list"], ["show", "0b1c2d3e-3"]):
        printed = " ".join(plaza(*command)[1].split())
        assert (words or "ValueError") in printed
        assert (" wait with it" in printed) == bool(others)
    assert json.loads(plaza("list", "--json")[1])["others"] == others


def test_any_dead_letter_is_listed_and_told_by_the_exit_status(plaza, letters):
    letters.put(letter())
    letters.put(letter(4, age_s=10.0, dcid=None, error="\x1b[31mred [bold]" + "x" * 300))
    status, printed, _ = plaza("list")
    assert status == 1
    _, first, second = printed.splitlines()
    assert re.fullmatch(r"0b1c2d3e-3 +2 h +trial +7 +1 · choosy +ValueError: bad *", first)
    assert re.match(r"0b1c2d3e-4 +1\d s +trial +1 · choosy +.\[31mred \[bold\]x+…", second)
    assert len(second) <= 120
    assert plaza("list", "--dcid", 8)[0] == 0
    assert plaza("list", "--run", "0b1c", "--recipe", "trial", "--step", "choosy", "--dcid", 7)[0] == 1


def test_a_dcid_that_can_not_be_is_refused(plaza, letters):
    letters.put(letter())
    for words, expected in ((["list"], 2), (["purge", "--all"], 1)):
        status, _, said = plaza(*words, "--dcid", 0)
        assert (status, "0 is no id of a data collection" in said) == (expected, True)
    assert [found.number for found in letters.all()] == [3]


def test_letters_are_listed_as_json(plaza, letters):
    letters.put(letter())
    status, printed, _ = plaza("list", "--json")
    assert status == 1
    [line] = printed.splitlines()
    assert json.loads(line)["id"] == f"{RUN}-3"
    assert json.loads(line)["payload"] == {"good": False}


@pytest.mark.parametrize("words", [["list"], ["purge", "--all"], ["expire", "--older-than", "1s"]])
def test_a_damaged_letter_is_told_by_name_and_counts(plaza, letters, words):
    letters.put(letter())
    letters.put(letter(4))
    letters.file_of(letter(4)).write_text("{")
    status, printed, complaint = plaza(*words)
    assert status == (1 if words == ["list"] else 0)
    assert complaint.startswith(f"plaza: {letters.file_of(letter(4))} doesn't hold a dead letter")
    assert len(complaint.splitlines()) == 1
    assert "0b1c2d3e-3" in printed or "purged 1 dead letter;" in printed
    letters.file_of(letter()).unlink(missing_ok=True)
    assert plaza("list")[0] == 1
    assert plaza("purge", letter(4).name)[0] == 0
    assert plaza("list")[0] == 0


def test_what_can_not_be_listed_is_neither_some_nor_none(plaza, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", "/dev/null/home")
    get_settings.cache_clear()
    status, _, complaint = plaza("list")
    assert status == 2
    assert complaint == "plaza: there is no home folder /dev/null/home: set PLAZA_HOME to that of the site\n"


def test_all_of_a_letter_is_shown(plaza, letters):
    letters.put(letter())
    status, printed, _ = plaza("show", "0b1c2d3e-3")
    assert status == 0
    for part in (RUN, "1 · choosy", "trial.choosy", '"good": false', f'"ID": "{RUN}"', "Traceback: line 1", "really"):
        assert part in printed
    assert json.loads(plaza("show", "0b1c", "--json")[1])["error"] == "ValueError: bad\nreally"


@pytest.mark.parametrize(
    ("words", "payload"),
    [
        (["--payload", '{"better": 1}'], {"better": 1}),
        (["--payload", "[1]"], [1]),
        (["--set", "good=true", "--set", "name=it", "--set", "n={}"], {"good": True, "name": "it", "n": {}}),
        (["--payload", "{}", "--set", "a=b=c"], {"a": "b=c"}),
        (["--payload-file", "{file}"], {"from": "file"}),
    ],
)
def test_a_payload_is_changed_by_options(plaza, letters, tmp_path, words, payload):
    (tmp_path / "payload.json").write_text('{"from": "file"}')
    letters.put(letter())
    status, printed, _ = plaza("edit", "0b1c", *(word.replace("{file}", f"{tmp_path}/payload.json") for word in words))
    assert status == 0
    assert "changed payload of dead letter" in printed
    changed = letters.get(letter().name)
    assert changed.payload == payload
    assert changed.history[-1].done == "changed payload"
    assert changed.history[-1].by
    assert time.time() - changed.history[-1].at < 60
    assert changed.environment == {"ID": RUN}


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Make a program the editor: Python that finds the file in `file`."""

    def make(code, variable="EDITOR"):
        program = tmp_path / "my editor.py"
        program.write_text(f"import sys\nfrom pathlib import Path\nfile = Path(sys.argv[-1])\n{code}\n")
        monkeypatch.setenv(variable, f"{sys.executable} '{program}'")

    return make


def test_a_letter_is_changed_in_the_editor(plaza, letters, editor):
    letters.put(letter())
    editor("raise SystemExit('not this one')")
    editor("file.write_text(file.read_text().replace('false', 'true').replace('ID', 'id'))", "VISUAL")
    status, printed, _ = plaza("edit", "0b1c")
    assert (status, printed.split(" of ")[0]) == (0, "changed payload and environment")
    changed = letters.get(letter().name)
    assert (changed.payload, changed.environment) == ({"good": True}, {"id": RUN})


def test_an_editor_that_changes_nothing_leaves_the_letter(plaza, letters, editor):
    letters.put(letter())
    before = letters.file_of(letter()).read_bytes()
    editor("pass")
    assert plaza("edit", "0b1c")[1] == f"dead letter {RUN}-3 stays as it is\n"
    assert letters.file_of(letter()).read_bytes() == before


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("file.write_text('{')", "not JSON: .*what you wrote is in /"),
        ("file.write_text('[]')", "expected a JSON object of payload and environment, seen list"),
        ("file.write_text('{\"payload\": 1}')", "seen payload"),
        ('file.write_text(\'{"payload": 1, "environment": 1}\')', "environment: expected a JSON object, seen a int"),
        ('file.write_text(\'{"payload": NaN, "environment": {}}\')', "NaN|nan"),
        ("file.write_bytes(b'\\xff')", "can't be read"),
        ("file.unlink()", "can't be read"),
        ("sys.exit(3)", r"failed \(.*\): nothing changed; see /"),
    ],
)
def test_what_an_editor_spoils_changes_nothing(plaza, letters, editor, monkeypatch, tmp_path, code, complaint):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    letters.put(letter())
    editor(code)
    status, _, told = plaza("edit", "0b1c")
    assert status == 1
    assert re.search(complaint, told)
    assert letters.get(letter().name).payload == {"good": False}


def test_a_letter_that_was_dealt_with_while_the_editor_was_open_stays_gone(plaza, letters, editor):
    letters.put(letter())
    editor(
        f"file.write_text(file.read_text().replace('false', 'true')); Path({str(letters.file_of(letter()))!r}).unlink()"
    )
    status, _, told = plaza("edit", "0b1c")
    assert status == 1
    assert "found none" in told
    assert list(letters.all()) == []


def test_purged_letters_are_kept_in_files_of_the_day(plaza, letters, home):
    for number in (3, 4, 5):
        letters.put(letter(number))
    assert plaza("purge", "0b1c2d3e-3", f"{RUN}-3")[1].startswith("purged 1 dead letter; kept in ")
    status, printed, _ = plaza("purge", "--all", "--run", "0b1c")
    assert status == 0
    folder = home / "dead-letters" / "purged" / time.strftime("%Y-%m-%d")
    assert printed == f"purged 2 dead letters; kept in {folder}\n"
    assert sorted(read_dead_letter(file).number for file in folder.iterdir()) == [3, 4, 5]
    assert plaza("list")[0] == 0
    assert plaza("purge", "--all") == (0, "No such dead letters.\n", "")


def test_old_letters_expire(plaza, letters):
    letters.put(letter(3, age_s=3 * 86400))
    letters.put(letter(4, age_s=86400))
    assert plaza("expire", "--older-than", "2d")[1].startswith("purged 1 dead letter;")
    assert [letter.number for letter in letters.all()] == [4]
    assert plaza("expire", "--older-than", "2d") == (0, "No such dead letters.\n", "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["show", "nothing"], "expected one dead letter of the name 'nothing' in .*, found none"),
        (["show", "0b1c"], "found 0b1c2d3e.*-3, 0b1c2d3e.*-4"),
        (["edit", "nothing"], "found none"),
        (["edit", "0b1c2d3e-3"], r"set \$VISUAL or \$EDITOR, or say --payload"),
        (["edit", "0b1c2d3e-3", "--payload", "{"], "not JSON"),
        (["edit", "0b1c2d3e-3", "--payload", "NaN"], "NaN|nan"),
        (["edit", "0b1c2d3e-3", "--payload", "1", "--payload-file", "x"], "one of both"),
        (["edit", "0b1c2d3e-3", "--payload-file", "/no/file"], "/no/file: can't be read"),
        (["edit", "0b1c2d3e-3", "--payload", "[]", "--set", "a=1"], "the payload has no keys, it's a list"),
        (["edit", "0b1c2d3e-3", "--set", "a"], "expected KEY=VALUE"),
        (["purge"], "name dead letters, or say --all"),
        (["purge", "--run", "0b1c"], "name dead letters, or say --all"),
        (["purge", "0b1c2d3e-3", "--all"], "one of both"),
        (["purge", "0b1c2d3e-3", "--dcid", "7"], "go with --all, not with names"),
        (["purge", "0b1c2d3e-3", "nothing"], "found none"),
        (["reinject"], "name dead letters, or say --all"),
        (["reinject", "0b1c2d3e-3"], "no site runs in .*: start one with `plaza up`"),
        (["expire", "--older-than", "30"], "age '30': expected a number and a unit"),
    ],
)
def test_bad_input_is_a_line_and_changes_nothing(plaza, letters, words, complaint):
    letters.put(letter())
    letters.put(letter(4))
    status, _, told = plaza(*words)
    assert status == 1
    assert told.startswith("plaza: ")
    assert len(told.splitlines()) == 1
    assert re.search(complaint, told)
    assert [letter.number for letter in letters.all()] == [3, 4]


def test_what_the_file_system_refuses_is_a_line(plaza, letters, home):
    letters.put(letter())
    (letters.folder / "purged").write_text("no folder")
    status, _, told = plaza("purge", "--all")
    assert status == 1
    assert re.fullmatch(r"plaza: .*purged.* can't be used: .*\n", told)
    assert letters.get("0b1c") == letters.get(letter().name)
