"""When a watch tells whom what. Time is made up: nothing here waits."""

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from blocks.errors import MessageRefused, NodeRefused
from tasks.file_pattern import FilePattern
from tasks.file_watcher import watch_files
from tasks.file_watcher.parameters import WatchParameters, open_source
from tasks.file_watcher.selection import NamedOutputs
from tasks.file_watcher.sources import NumberedFiles
from tasks.file_watcher.watching import SLOWEST_POLL_S, Clock, Watch
from tasks.ispyb_access.reading.image_files import image_pattern
from tasks.step import Message, StepContext
from tasks.step.runner import run_step, sends_of, try_step
from tests.support.fake_resources import FakeResources
from tests.support.name_cache import NameCache

ALL = dict.fromkeys(["first", "every", "last", "any", "finally", "timeout", "error"], 2)


class MadeUpTime:
    """A clock that sleeping moves on; `happens` are (time, action) pairs, done when it gets there."""

    def __init__(self, *happens):
        self.now = 0.0
        self.sleeps = []
        self._happens = sorted(happens, key=lambda happening: happening[0])
        self.clock = Clock(monotonic=lambda: self.now, epoch=lambda: 1e9 + self.now, sleep=self._sleep)

    async def _sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds
        while self._happens and self._happens[0][0] <= self.now:
            self._happens.pop(0)[1]()


@pytest.fixture
def context():
    def refuse(message, error):
        raise AssertionError(f"refused: {error}")

    return StepContext({"output": ALL}, "test", FakeResources(), refuse)


@pytest.fixture
def images(tmp_path):
    """A function that writes image n, and the parameters of a watch for images 5 to 7."""

    def write(number):
        return lambda: (tmp_path / f"i{number}.cbf").write_text("pixels")

    write.parameters = {"pattern": f"{tmp_path}/i%d.cbf", "pattern-start": 5, "pattern-end": 7}
    write.path = lambda number: f"{tmp_path}/i{number}.cbf"
    return write


async def watch(parameters, context, made_up=None, output=None):
    """Return all notices of a watch, and how it ended in made-up time."""
    made_up = made_up or MadeUpTime()
    model = WatchParameters.model_validate(parameters)
    outputs = NamedOutputs.of_output(ALL if output is None else output)
    async with asyncio.timeout(60):
        notices = Watch(open_source(model), outputs, model, context, made_up.clock).notices()
        return [(notice.output, notice.payload) async for notice in notices]


async def test_pattern_payloads(images, context):
    for number in (5, 6, 7):
        images(number)()
    item = [
        {"file": images.path(4 + n), "file-number": n, "file-pattern-index": 4 + n, "file-seen-at": 1e9}
        for n in (1, 2, 3)
    ]
    tally = {"files-expected": 3, "files-seen": 3}
    assert await watch(images.parameters, context) == [
        ("first", item[0]),
        ("every", item[0]),
        ("every", item[1]),
        ("every", item[2]),
        ("last", item[2]),
        ("any", tally),
        ("finally", tally | {"success": True}),
    ]


async def test_list_payloads(images, context):
    paths = [images.path(9), images.path(3)]
    images(3)()
    images(9)()
    item = [{"file": path, "file-list-index": n, "file-seen-at": 1e9} for n, path in enumerate(paths, 1)]
    tally = {"files-expected": 2, "files-seen": 2}
    assert await watch({"list": paths}, context) == [
        ("first", item[0]),
        ("every", item[0]),
        ("every", item[1]),
        ("last", item[1]),
        ("any", tally),
        ("finally", tally | {"success": True}),
    ]


async def test_nothing_seen_times_out_without_any(images, context):
    made_up = MadeUpTime()
    assert await watch({"timeout": 600, "timeout-first": 60} | images.parameters, context, made_up) == [
        ("timeout", {"file": images.path(5), "file-number": 1, "file-pattern-index": 5, "success": False}),
        ("finally", {"files-expected": 3, "files-seen": 0, "success": False}),
    ]
    assert made_up.now == pytest.approx(60)


async def test_timeout_after_some_tells_any_too(images, context):
    made_up = MadeUpTime((30, images(5)))
    notices = await watch({"timeout": 10, "timeout-first": 60} | images.parameters, context, made_up)
    assert notices[2:] == [
        ("timeout", {"file": images.path(6), "file-number": 2, "file-pattern-index": 6, "success": False}),
        ("any", {"files-expected": 3, "files-seen": 1}),
        ("finally", {"files-expected": 3, "files-seen": 1, "success": False}),
    ]
    assert 40 <= made_up.now <= 42


async def test_a_listed_file_that_stays_away_times_out(images, context):
    path = images.path(1)
    assert await watch({"list": [path], "timeout": 1}, context) == [
        ("timeout", {"file": path, "file-list-index": 1, "success": False}),
        ("finally", {"files-expected": 1, "files-seen": 0, "success": False}),
    ]


async def test_each_item_renews_the_patience(images, context):
    made_up = MadeUpTime((9, images(5)), (18, images(6)), (27, images(7)))
    notices = await watch({"timeout": 10} | images.parameters, context, made_up)
    assert notices[-1] == ("finally", {"files-expected": 3, "files-seen": 3, "success": True})


async def test_an_item_at_the_last_moment_is_seen(images, context):
    made_up = MadeUpTime((10, lambda: [images(number)() for number in (5, 6, 7)]))
    notices = await watch({"timeout": 10} | images.parameters, context, made_up)
    assert notices[-1][1]["success"]


async def test_items_behind_a_gap_wait_for_it(images, context):
    images(5)()
    images(7)()
    seen = [payload["file-number"] async for payload in _every({"timeout": 10} | images.parameters, context)]
    assert seen == [1]
    made_up = MadeUpTime((5, images(6)))
    seen = [payload["file-number"] async for payload in _every({"timeout": 10} | images.parameters, context, made_up)]
    assert seen == [1, 2, 3]


async def _every(parameters, context, made_up=None):
    for output, payload in await watch(parameters, context, made_up):
        if output == "every":
            yield payload


@pytest.mark.parametrize(
    ("entries", "notices"),
    [
        ([None], [("finally", {"files-expected": 0, "files-seen": 0, "success": True})]),
        (
            [],
            [
                ("any", {"files-expected": 0, "files-seen": 0}),
                ("finally", {"files-expected": 0, "files-seen": 0, "success": True}),
            ],
        ),
        (
            [""],
            [
                ("error", {"file": "", "file-list-index": 1, "success": False}),
                ("finally", {"files-expected": 1, "files-seen": 0, "success": False}),
            ],
        ),
        (
            [None, "/there"],
            [
                ("error", {"file": None, "file-list-index": 1, "success": False}),
                ("finally", {"files-expected": 2, "files-seen": 0, "success": False}),
            ],
        ),
    ],
)
async def test_lists_with_nothing_in_them(entries, notices, context):
    made_up = MadeUpTime()
    assert await watch({"list": entries}, context, made_up) == notices
    assert made_up.now == 0


async def test_an_empty_entry_ends_a_list_after_what_was_seen(images, context):
    images(1)()
    notices = await watch({"list": [images.path(1), None, images.path(1)]}, context)
    assert [output for output, _ in notices] == ["first", "every", "error", "any", "finally"]
    assert notices[2:] == [
        ("error", {"file": None, "file-list-index": 2, "success": False}),
        ("any", {"files-expected": 3, "files-seen": 1}),
        ("finally", {"files-expected": 3, "files-seen": 1, "success": False}),
    ]


async def test_a_pattern_of_no_files_is_complete_at_once(images, context):
    tally = {"files-expected": 0, "files-seen": 0}
    notices = await watch(images.parameters | {"pattern-end": 4}, context)
    assert notices == [("any", tally), ("finally", tally | {"success": True})]


async def test_a_negative_count_times_out(images, context):
    images(5)()
    assert await watch(images.parameters | {"pattern-end": 1, "timeout": 7}, context) == [
        ("timeout", {"file": images.path(5), "file-number": 1, "file-pattern-index": 5, "success": False}),
        ("finally", {"files-expected": -3, "files-seen": 0, "success": False}),
    ]


async def test_only_named_outputs_are_told(images, context):
    for number in (5, 6, 7):
        images(number)()
    notices = await watch(images.parameters, context, output={"select-2": [1], "2": [1], "finally": [2]})
    assert [output for output, _ in notices] == ["select-2", "2", "select-2", "finally"]


async def test_polls_are_quick_while_items_come_and_slow_when_idle(images, context):
    made_up = MadeUpTime((30, images(5)), (30.1, images(6)))
    await watch({"timeout": 20, "timeout-first": 60} | images.parameters, context, made_up)
    assert max(made_up.sleeps) == SLOWEST_POLL_S
    assert made_up.sleeps[0] < 0.1
    gap = 0.0
    for pause in made_up.sleeps[:60]:
        assert pause <= 0.05 + gap / 20 + 1e-9, "an item is seen soon after a short gap"
        gap += pause
    assert len(made_up.sleeps) < 200
    assert 0.05 in made_up.sleeps[20:], "a found item makes polls quick again"


async def test_burst_limit_and_wait_pace_the_watch(images, context):
    for number in (5, 6, 7):
        images(number)()
    made_up = MadeUpTime()
    notices = await watch({"burst-limit": 2, "burst-wait": 5} | images.parameters, context, made_up)
    seen_at = [payload["file-seen-at"] - 1e9 for output, payload in notices if output == "every"]
    assert seen_at == [0, 0, 5]


async def test_without_burst_wait_a_full_burst_goes_on_at_once(images, context):
    for number in (5, 6, 7):
        images(number)()
    made_up = MadeUpTime()
    await watch({"burst-limit": 1} | images.parameters, context, made_up)
    assert made_up.now == 0


async def test_progress_is_reported(images, context):
    for number in (5, 6, 7):
        images(number)()
    steps = []
    watched = StepContext({}, "test", context.resources, context.refuse, progress=lambda *done: steps.append(done))
    await watch(images.parameters, watched)
    assert steps == [(1, 3), (2, 3), (3, 3)]


async def test_a_file_just_created_is_not_there_until_it_has_content(images, context):
    empty = Path(images.path(5))
    empty.touch()
    os.utime(empty, (time.time() + 100,) * 2)  # a fresh file for as long as this test may take
    made_up = MadeUpTime((2, images(5)))
    notices = await watch(images.parameters | {"pattern-end": 5}, context, made_up)
    assert notices[0][1]["file-seen-at"] - 1e9 == pytest.approx(2, abs=0.7)


async def test_an_old_empty_file_is_passed_on(images, context):
    empty = Path(images.path(5))
    empty.touch()
    os.utime(empty, (time.time() - 10,) * 2)
    notices = await watch(images.parameters | {"pattern-end": 5}, context)
    assert notices[-1] == ("finally", {"files-expected": 1, "files-seen": 1, "success": True})


@pytest.mark.parametrize("name", ["folder", "with\0null", "broken-link", "file/below"])
async def test_what_is_no_file_is_not_there(name, tmp_path, context):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "broken-link").symlink_to(tmp_path / "nowhere")
    notices = await watch({"list": [f"{tmp_path}/{name}"], "timeout": 1}, context)
    assert notices[0][0] == "timeout"


@pytest.mark.parametrize(("as_info", "level"), [(True, logging.INFO), (False, logging.WARNING)])
async def test_a_timeout_is_logged_as_asked_and_names_what_is_missing(as_info, level, images, context, caplog):
    caplog.set_level(logging.INFO)
    await watch({"timeout": 5, "log-timeout-as-info": as_info} | images.parameters, context)
    record = caplog.records[-1]
    assert record.levelno == level
    assert record.getMessage() == (
        f"timed out after 5.0 s: 0 of 3 files found, nothing new for 5.0 s, still waiting for {images.path(5)}"
    )


@pytest.mark.parametrize(("expected", "late"), [("0.1", 3.7), (10, 0), (None, None), ("None", None)])
async def test_an_unexpected_delay_is_logged(expected, late, images, context, caplog):
    caplog.set_level(logging.INFO)
    made_up = MadeUpTime((4, lambda: [images(number)() for number in (5, 6, 7)]))
    await watch(images.parameters | {"expected-per-image-delay": expected}, context, made_up)
    found = getattr(caplog.records[-1], "unexpected_delay", None)
    assert found == (late if late is None else pytest.approx(late, abs=1.1))
    ignored = [record for record in caplog.records if "ignored expected-per-image-delay" in record.getMessage()]
    assert len(ignored) == (expected == "None")


async def test_a_slow_file_system_is_warned_about(images, context, caplog):
    class SlowFiles(NumberedFiles):
        async def look(self, seen, limit):
            self.slowest_look_s = 6.5
            return await super().look(seen, limit)

    images(5)()
    model = WatchParameters()
    files = SlowFiles(FilePattern.parse(images.parameters["pattern"]), 5, 1)
    slow = Watch(files, NamedOutputs.of_output(ALL), model, context)
    assert [notice.output async for notice in slow.notices()][-1] == "finally"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "slow file system: it took 6.5 s to look for files"
    ]


async def test_a_slow_consumer_does_not_use_up_the_patience(images, context):
    images(5)()
    images(6)()
    made_up = MadeUpTime()
    model = WatchParameters.model_validate({"timeout": 10} | images.parameters)
    notices = []
    async for notice in Watch(open_source(model), NamedOutputs.of_output(ALL), model, context, made_up.clock).notices():
        notices.append(notice)
        made_up.now += 0 if len(notices) > 3 else 100
        if len(notices) == 3:
            images(7)()
    assert notices[-1].payload["success"]


@pytest.mark.parametrize(
    "folder", ["25% DMSO", "50%glycerol", "100%%", "run%d", "{soak}", "a b.", "new\nline", "Größe"]
)
@pytest.mark.parametrize("is_late", [False, True])
async def test_folders_are_watched_whatever_they_are_called(folder, is_late, tmp_path, context):
    def write():
        (tmp_path / folder).mkdir()
        for number in (1, 2, 3):
            (tmp_path / folder / f"soak_1_{number:04d}.cbf").write_text("pixels")

    made_up = MadeUpTime((2, write)) if is_late else write()
    pattern = {"pattern": f"{tmp_path}/{folder}/soak_1_%04d.cbf", "pattern-start": "1", "pattern-end": "3"}
    notices = await watch(pattern, context, made_up)
    assert notices[-1] == ("finally", {"files-expected": 3, "files-seen": 3, "success": True})
    assert notices[0][1]["file"] == f"{tmp_path}/{folder}/soak_1_0001.cbf"


async def test_unpadded_numbers_are_watched(tmp_path, context):
    for number in range(8, 12):
        (tmp_path / f"x_{number}.cbf").write_text("pixels")
    pattern = {"pattern": f"{tmp_path}/" + image_pattern("x_#.cbf"), "pattern-start": "8", "pattern-end": "11"}
    files = [payload["file"] async for payload in _every(pattern, context)]
    assert files == [f"{tmp_path}/x_{number}.cbf" for number in range(8, 12)]


@pytest.mark.parametrize("kind", ["pattern", "list"])
async def test_images_are_seen_though_their_absence_is_remembered(kind, images, context, monkeypatch):
    """A network file system's client remembers it; each folder is opened at most once in a second, of the clock's."""
    made_up = MadeUpTime((30, lambda: [images(number)() for number in (5, 6, 7)]))
    cache = NameCache(Path(images.path(5)).parent.parent, monkeypatch)
    monkeypatch.setattr("tasks.fresh_folders.time.monotonic", lambda: made_up.now)
    watched = images.parameters if kind == "pattern" else {"list": [images.path(number) for number in (5, 6, 7)]}
    notices = await watch(watched, context, made_up)
    seen_at = [payload["file-seen-at"] - 1e9 for output, payload in notices if output == "every"]
    assert len(seen_at) == 3
    assert 30 <= seen_at[0] <= seen_at[-1] <= 32
    assert 10 < len(cache.opened) < 40


# The step


async def test_each_message_is_a_watch_with_its_own_environment(images):
    for number in (5, 6, 7):
        images(number)()
    node = {"parameters": images.parameters, "output": {"first": 2, "finally": 3}}

    async def inbox():
        yield Message({}, {"ID": "a"})
        yield Message(None, {"ID": "b"})

    context = StepContext(node, "test", FakeResources(), lambda *refused: pytest.fail(f"refused {refused}"))
    sends = [send async for result in run_step(watch_files, inbox(), context) for send in sends_of(result)]
    assert [(send.output, send.environment) for send in sends] == [
        (output, {"ID": guid}) for guid in "ab" for output in ("first", "finally")
    ]


@pytest.mark.parametrize(
    ("parameters", "output", "reason"),
    [
        ({"pattern": "x.cbf", "pattern-start": 1, "pattern-end": 2}, {}, "exactly one integer field"),
        ({}, {}, "needs one of the parameters"),
        ({"list": []}, {"every-0": 2}, "should end in a number of 1 or more"),
    ],
)
async def test_bad_nodes_refuse_each_message_and_say_why(parameters, output, reason):
    outcome = await try_step(watch_files, {"parameters": parameters, "output": output}, [{}, {}], FakeResources())
    assert outcome.sent == []
    assert len(outcome.refused) == 2
    for _, error in outcome.refused:
        with pytest.raises(MessageRefused, match=reason):
            raise error


async def test_wrong_parameters_refuse_all_messages_as_one():
    node = {"parameters": {"list": [], "timeout": "soon"}, "output": {}}
    outcome = await try_step(watch_files, node, [{}, {}], FakeResources())
    assert (outcome.sent, len(outcome.refused), len(outcome.undone)) == ([], 1, 1)
    with pytest.raises(NodeRefused, match=r"timeout.*seen 'soon'"):
        raise outcome.refused[0][1]


async def test_an_unnamed_output_hears_nothing_and_the_log_says_so(images, caplog):
    images(5)()
    node = {"parameters": images.parameters | {"pattern-end": 5}, "output": [2]}
    outcome = await try_step(watch_files, node, [{}], FakeResources())
    assert (outcome.sent, outcome.refused) == ([], [])
    assert "no named outputs" in caplog.text


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: Path(path).mkdir()], ids=["pipe", "folder"])
async def test_what_is_no_file_holds_up_nothing(make, images, context):
    for number in (5, 7):
        images(number)()
    make(images.path(6))
    os.utime(images.path(6), (1e9, 1e9))
    notices = await watch({**images.parameters, "timeout": 1}, context)
    assert [payload["file"] for output, payload in notices if output == "every"] == [images.path(n) for n in (5, 6, 7)]


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "pipe"), (lambda path: Path(path).mkdir(), "folder")])
async def test_master_that_is_no_file_is_refused(make, kind, tmp_path, context):
    make(master := f"{tmp_path}/a_master.h5")
    os.utime(master, (1e9, 1e9))
    with pytest.raises(MessageRefused, match=f"is a {kind}.*expected an HDF5 master"):
        await watch({"hdf5": master, "timeout": 1}, context)
