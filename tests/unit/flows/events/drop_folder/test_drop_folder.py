"""Events as files: in the order of their times, whole or not at all, and read with care, whoever wrote them."""

import errno
import json
import multiprocessing
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from flows.events.drop_folder import file as drop_file
from flows.events.drop_folder.file import InvalidDropFile, read_drop_file
from flows.events.drop_folder.folder import DropFolder, LockTaken, drop_folder_at_hand
from flows.events.event import CollectionEvent
from flows.prefect_limits import LARGEST_DCID
from tests.support.checkout import CHECKOUT

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    folder = DropFolder(tmp_path / "events")
    folder.make()
    return folder


def event_at(at, dcid=7, event="end"):
    return CollectionEvent(event=event, dcid=dcid, at=at)


def test_what_is_kept_is_read_again(folder):
    event = CollectionEvent.now("start", 7, {"comment": "tea"})
    path = folder.keep(event)
    assert folder.files() == [path]
    kept = read_drop_file(path)
    assert (kept.content, kept.at) == (event, event.at)
    assert event.sender
    assert json.loads(path.read_text())["from"] == event.sender


def test_names_are_in_the_order_of_their_times_and_never_the_same(folder):
    moments = [NOON + timedelta(microseconds=step) for step in (0, 1, 999_999, 1_000_000, 86_400_000_000)]
    abroad = [moment.astimezone(tz=None) for moment in moments]
    paths = [folder.keep(event_at(at)) for at in abroad]
    assert folder.files() == paths
    assert len({folder.keep(event_at(NOON)) for _ in range(100)}) == 100
    assert all(re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-end-7-[0-9a-f]{12}\.json", path.name) for path in folder.files())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "EOF"),
        ('{"event": "end", "dcid"', "EOF"),
        ("[1]", "object"),
        ('{"event": "end"}', "dcid"),
        ('{"event": "pause", "dcid": 7}', "event"),
        ('{"event": "end", "dcid": 0}', "dcid"),
        ('{"event": "end", "dcid": true}', "dcid"),
        ('{"event": "end", "dcid": "1_0"}', "dcid"),
        ('{"event": "end", "dcid": 7, "parameters": {"a": NaN}}', "NaN"),
        ('{"event": "end", "dcid": 7, "at": 1764324000}', "ISO 8601"),
        ('{"event": "end", "dcid": 7, "at": "1764324000"}', "ISO 8601"),
        (f'{{"event": "end", "dcid": {LARGEST_DCID + 1}}}', "dcid"),
        ('{"event": "end", "dcid": 1' + "0" * 10_000 + "}", "out of range"),
        ('{"event": "end", "dcid": 7, "user": "me"}', "user"),
        ('{"event": "end", "dcid": 7, "at": "2026-11-28T12:00:00"}', "at: .*timezone"),
        ('{"event": "end", "dcid": 7, "at": "soon"}', "at"),
        ('{"event": "end", "dcid": 7, "from": "' + "x" * 201 + '"}', "from"),
        ('{"event": "end", "dcid": 7, "parameters": {"a": "\\u0000"}}', "NUL"),
        ('{"event": "end", "dcid": 7, "parameters": {"a": 1e300}}', "64 bits"),
        ('{"event": "end", "dcid": 7, "parameters": ' + '{"a": ' * 5_000 + "1" + "}" * 5_000 + "}", "recursion"),
        ('{"event": "end", "dcid": 7, "parameters": {"a": "' + "x" * 70_000 + '"}}', "bytes as JSON"),
        (" " * 2_000_000 + '{"event": "end", "dcid": 7}', "2000027 bytes"),
        (b'{"event": "end", "dcid": 7, "from": "\xe9"}', "unicode"),
        ('{"event": "end", "dcid": 7}'.encode("utf-16"), "UTF-16: expected UTF-8"),
        ('{"event": "end", "dcid": 7, "guid": {"a": 1}}', "guid"),
    ],
)
def test_what_is_no_event_is_told_in_a_few_words(folder, content, complaint):
    path = folder.path / "beamline.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidDropFile, match=complaint) as told:
        read_drop_file(path)
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"event": "end", "dcid": 7}', CollectionEvent(event="end", dcid=7)),
        ('{"event": "end", "dcid": "7"}', CollectionEvent(event="end", dcid=7)),
        ('\ufeff{"event": "end", "dcid": 7}', CollectionEvent(event="end", dcid=7)),
        ('{"event": "end", "dcid": 7, "guid": 42}', CollectionEvent(event="end", dcid=7, guid="42")),
        ('{"event": "start", "dcid": 7, "at": "2026-11-28T13:00+01:00"}', event_at(NOON, event="start")),
        (
            '{"event": "end", "dcid": 7, "parameters": {"a": "b"}}',
            CollectionEvent(event="end", dcid=7, parameters={"a": "b"}),
        ),
    ],
)
def test_what_others_write_may_be_short(folder, content, expected):
    path = folder.path / "beamline.json"
    path.write_text(content)
    assert read_drop_file(path).content == expected


def test_the_script_that_the_docs_show_writes_an_event(folder):
    page = (CHECKOUT / "docs" / "how-to" / "send-events.md").read_text()
    script = next(block for block in page.split("```") if "printf" in block).strip()
    subprocess.run(["bash", "-euc", script.replace("<home>", str(folder.path.parent))], check=True)
    [path] = folder.files()
    kept = read_drop_file(path)
    assert (kept.content.event, kept.content.dcid) == ("end", 1234567)
    assert abs(kept.at - datetime.now(UTC)) < timedelta(hours=1)


def test_the_python_that_the_docs_show_is_fifteen_lines():
    page = (CHECKOUT / "docs" / "how-to" / "send-events.md").read_text()
    program = page.split("```python\n")[1].split("```")[0]
    assert len(program.splitlines()) <= 15
    compile(program, "send-events.md", "exec")


def test_the_example_that_the_docs_show_is_an_event(folder):
    page = (CHECKOUT / "docs" / "reference" / "event-files.md").read_text()
    path = folder.path / "example.json"
    path.write_text(page.split("```json")[1].split("```")[0])
    assert read_drop_file(path).content.sender == "i03-control gda (4711)"


def test_without_a_time_the_files_own_counts(folder):
    path = folder.path / "beamline.json"
    path.write_text('{"event": "end", "dcid": 7}')
    os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    assert read_drop_file(path).at == NOON


@pytest.mark.parametrize("seconds", [253402300800, 8_000_000_000_000])
def test_a_time_that_no_calendar_has_is_a_fault_of_its_file_alone(folder, monkeypatch, seconds):
    """As a file system may have them: not every one keeps such a time when it's told to."""
    path = folder.path / "beamline.json"
    content = b'{"event": "end", "dcid": 7}'
    monkeypatch.setattr(drop_file, "_read_file", lambda _: (content, seconds * 10**9))
    with pytest.raises(InvalidDropFile, match=r"year that no calendar has.*touch"):
        read_drop_file(path)
    content = b'{"event": "end", "dcid": 7, "at": "2026-11-28T12:00:00Z"}'
    assert read_drop_file(path).at == NOON


def test_whatever_a_file_brings_about_is_its_own_fault(folder, monkeypatch):
    def fail(_):
        raise RecursionError("too deep")

    monkeypatch.setattr(drop_file, "_read_file", fail)
    with pytest.raises(InvalidDropFile, match="too deep"):
        read_drop_file(folder.path / "odd.json")


def test_a_name_that_is_used_again_is_another_event_but_the_same_file_never(folder):
    path = folder.path / "beamline.json"
    path.write_text('{"event": "end", "dcid": 7}')
    first = read_drop_file(path)
    assert read_drop_file(path).mark == first.mark
    path.unlink()
    path.write_text('{"event": "end", "dcid": 7}')
    os.utime(path, (1, 1))
    assert read_drop_file(path).mark != first.mark


@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "dangling", "unreadable"])
def test_what_is_no_plain_file_holds_up_nothing(folder, kind, tmp_path):
    path = folder.path / "odd.json"
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text('{"event": "end", "dcid": 7}')
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to(elsewhere)
        case "dangling":
            path.symlink_to("nowhere")
        case _:
            path.symlink_to(path)
    with pytest.raises(InvalidDropFile, match=r"plain file|symbolic link"):
        read_drop_file(path)
    assert folder.refuse(path, "odd").parent == folder.refused
    assert folder.files() == []
    assert elsewhere.exists()


def test_what_is_refused_twice_by_one_name_is_kept_twice(folder):
    for _ in range(2):
        path = folder.path / "bad.json"
        path.write_text("no")
        assert folder.reason(folder.refuse(path, "no JSON")) == "no JSON"
    assert len(DropFolder(folder.refused).files()) == 2


def test_hidden_drafts_and_other_files_are_none(folder):
    for name in (".draft.json", "event.json.tmp", "lock", "notes.txt"):
        (folder.path / name).write_text("")
    assert folder.files() == []


def test_nothing_is_left_of_an_event_for_which_the_disk_has_no_room(folder, monkeypatch):
    def no_room(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        folder.keep(event_at(NOON))
    assert list(folder.path.iterdir()) == []


def _keep_many(path, host):
    for number in range(50):
        DropFolder(path).keep(event_at(NOON, dcid=1000 * host + number))


def test_writers_do_not_take_each_others_names(folder):
    writers = [multiprocessing.Process(target=_keep_many, args=(folder.path, host)) for host in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    dcids = {read_drop_file(path).content.dcid for path in folder.files()}
    assert dcids == {1000 * host + number for host in (1, 2, 3) for number in range(50)}


async def test_there_is_one_sender_at_a_time(folder):
    async with folder.lock():
        with pytest.raises(LockTaken):
            async with folder.lock(patience_s=0.05):
                pass
    async with folder.lock():
        pass


async def test_a_file_system_without_locks_is_no_hindrance(folder, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    async with folder.lock():
        pass


@pytest.mark.parametrize(
    ("api", "prefect_home", "made", "at_hand"),
    [
        (None, None, True, True),
        (None, None, False, False),  # no site was ever up here
        ("http://here/api", "{home}/prefect", True, True),
        ("http://elsewhere/api", "/somebody/.prefect", True, False),
        ("http://elsewhere/api", None, True, False),
    ],
)
def test_events_are_kept_for_the_homes_own_site_only(tmp_path, monkeypatch, api, prefect_home, made, at_hand):
    from blocks.settings import get_settings

    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    for name, value in (("PREFECT_API_URL", api), ("PREFECT_HOME", prefect_home)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value.format(home=tmp_path))
    get_settings.cache_clear()
    try:
        if made:
            (tmp_path / "events").mkdir()
        assert (drop_folder_at_hand() == DropFolder(tmp_path / "events")) is at_hand
    finally:
        get_settings.cache_clear()


def test_whoever_may_not_look_into_the_home_keeps_nothing_there(monkeypatch):
    def closed(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("pathlib.Path.is_dir", closed)
    assert drop_folder_at_hand() is None
