"""Every step, killed at any moment and taken up again: what it does is what an undisturbed run does."""

import asyncio
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from blocks.settings import Settings
from tasks.diffraction.requests import ChunkAnswer, Failure, ImageAnalysis, ImageStatistics, PreviewRequest, Success
from tasks.file_watcher import watching
from tasks.step.registry import STEPS, load_step
from tests.support.fake_resources import FakeResources
from tests.support.grid_information import SNAKED_GRID
from tests.support.interruptions import InterruptedRun

ALL = dict.fromkeys(["first", "every", "last", "any", "finally", "timeout", "error", "select-3", "every-2", "4"], 2)
STATISTICS = ImageStatistics(2.1, 2.2, 2.3, 4, 5, 6, 0.1, 0.2, 700.0)

kills = st.lists(st.integers(0, 15), max_size=5)
"""How many entries of the journal each process writes before it's killed."""


class Cluster:
    """An analysis cluster, as far as the fan-out knows it. It keeps which images it was asked for."""

    status = "running"
    settings = Settings()

    def __init__(self):
        self.asked = []

    async def analysis_client(self, instead_of=None):
        return self

    async def nthreads(self):
        return {"worker": 1}

    async def submit(self, function, chunk, key, pure):
        await asyncio.sleep(0)
        return ChunkAnswer([self._answer(request) for request in chunk.requests], log=[])

    def _answer(self, request):
        self.asked.append(request.file)
        if "bad" in request.file:
            return Failure("no image")
        if isinstance(request, PreviewRequest):
            Path(request.output).write_text(f"a picture of {request.file}")
            return Success((request.output, request.thumbnail), 0.001)
        return Success(ImageAnalysis(STATISTICS), 0.001)


def make_images(folder, numbers):
    for number in numbers:
        image = folder / f"i{number}.cbf"
        image.write_text("pixels")
        os.utime(image, (1e9, 1e9))


def watch_pattern(folder, there=7, output=ALL):
    make_images(folder, range(1, there + 1))
    parameters = {"pattern": f"{folder}/i%d.cbf", "pattern-start": 1, "pattern-end": 7, "burst-limit": 3}
    return InterruptedRun(
        load_step("filewatcher"), {"parameters": parameters, "output": output}, [{}, "again"], FakeResources()
    )


def watch_list_in_vain(folder):
    make_images(folder, [1, 2])
    files = [f"{folder}/i1.cbf", f"{folder}/i2.cbf", f"{folder}/i3.cbf"]
    node = {"parameters": {"list": files, "timeout": 0}, "output": ALL}
    return InterruptedRun(load_step("filewatcher"), node, [{}], FakeResources())


def watch_for_nobody(folder):
    make_images(folder, [1, 2])
    node = {"parameters": {"list": [f"{folder}/i1.cbf", f"{folder}/i2.cbf"]}, "output": {"first": 2, "every": [3, 3]}}
    return InterruptedRun(load_step("filewatcher"), node, [{}], FakeResources())


def watch_nothing(folder):
    return InterruptedRun(load_step("filewatcher"), {"parameters": {}, "output": ALL}, [{}, {}], FakeResources())


def analyse(folder):
    payloads = [{"file": f"{name}.cbf", "file-number": n} for n, name in enumerate(["a", "b", "bad", "c", "d"], 1)]
    return InterruptedRun(load_step("per_image_analysis"), {}, [*payloads, "odd"], Cluster())


def draw(folder):
    payloads = [{"file": f"{name}.cbf", "output": f"{folder}/{name}.jpeg"} for name in ["a", "b", "bad", "c"]]
    node = {"parameters": {"image_command": "diffraction"}}
    return InterruptedRun(load_step("images"), node, [*payloads, "odd"], Cluster())


def centre(folder, numbers=(3, 1, 2, 6, 5, 4)):
    parameters = {"dcid": 17, "beamline": "i03", "output": str(folder / "centre.json"), "log": str(folder / "log")}
    images = [{"file-number": n, "n_spots_total": 10 * n, "file-seen-at": 1e9} if n else "odd" for n in numbers]
    node = {"parameters": parameters, "gridinfo": SNAKED_GRID}
    return InterruptedRun(load_step("reduce.xray_centering"), node, images, FakeResources())


def centre_in_vain(folder):
    return centre(folder, [3, 1, 0, 3, 6])


def centre_with_late_messages(folder):
    return centre(folder, [3, 3, 1, 0, 2, 6, 5, 4, 4, 0, 1, 77])


def archive(queue, folder, **parameters):
    images = folder / "cm1-1"
    images.mkdir()
    make_images(images, [1, 2, 3, 5])
    common = {"visit": "cm1-1", "beamline": "i03", "limit-files": 2}
    dropfile = str(folder / "drop" / "{visit_id}-{timestamp}{multipart}.xml")
    node = {"parameters": {**common, "dropfile": dropfile, **parameters}}
    return InterruptedRun(load_step(queue), node, [{}, {"archive-multipart": "x"}, {}], FakeResources())


def archive_pattern(folder):
    ends = {"pattern": f"{folder}/cm1-1/i%d.cbf", "pattern-start": 1, "pattern-end": 5}
    return archive("archive.pattern", folder, **ends)


def archive_list(folder):
    return archive("archive.filelist", folder, filelist=[f"{folder}/cm1-1/i{n}.cbf" for n in (1, 2, 3)])


def mail(folder):
    node = {"parameters": {"recipients": "a@x", "content": "Missing: {payload}"}}
    resources = FakeResources(Settings(home=folder, smtp_host=None))
    return InterruptedRun(load_step("mailnotification"), node, ["one", "two", "three"], resources)


def find_related_files(folder):
    with h5py.File(folder / "scan.nxs", "w") as file:
        file.create_dataset("entry/data/data_000001", data=np.zeros((2, 3, 3)), chunks=(1, 3, 3))
    node = {"parameters": {"expected_images": 3}}
    payloads = [{"file": f"{folder}/scan.nxs"}, {"file": f"{folder}/none.nxs"}, {}]
    return InterruptedRun(load_step("nexusparser.find_related_files"), node, payloads, FakeResources())


def tell_beamline(folder):
    crystal = {"centre_of_mass": [1.5, 1, 1], "max_voxel": [1, 0, 0], "bounding_box": [[0, 0, 0], [2, 2, 2]]}
    counts = {"max_count": 1, "n_voxels": 8, "total_count": 8}
    found = [{"results": results, "type": "3d"} for results in ([crystal | counts], [])]
    node = {"queue": "xrc.i03", "parameters": {"dcid": 17, "dcgid": 3, "beamline": "i03"}}
    settings = Settings(home=folder, bridge=True, broker_url="amqp://mq/zocalo")
    return InterruptedRun(load_step("xrc.i03"), node, [*found, "odd"], FakeResources(settings))


CASES: list[Callable[[Path], InterruptedRun]] = [
    watch_pattern, watch_list_in_vain, watch_for_nobody, watch_nothing, analyse, draw, centre, centre_in_vain,
    centre_with_late_messages, archive_pattern, archive_list, mail, find_related_files, tell_beamline,
]  # fmt: skip
ELSEWHERE = {"ispyb_connector", "ispyb_pia"}  # tests/integration/tasks/ispyb_connector: they need a database
AT_LEAST_ONCE = {"notify_gda"}  # a datagram can't be taken back, and isn't answered


@pytest.fixture(autouse=True)
def no_mail_server_elsewhere(monkeypatch):
    monkeypatch.setattr("blocks.site_mail.has_prefect_api", lambda: False)


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("run")


def test_every_step_is_interrupted_somewhere(new_folder):
    tested = {case(new_folder()).step.queue for case in CASES}
    assert tested | ELSEWHERE | AT_LEAST_ONCE == set(STEPS)


def effects(run, folder):
    """Return what a run has done: what went out on each output, in order, what was refused, and all files."""
    outputs = {}
    for output, payload in run.sent:
        text = json.dumps(payload, default=str).replace(str(folder), "")
        outputs.setdefault(output, []).append(text)
    files = {
        str(path.relative_to(folder)): path.read_text().replace(str(folder), "")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".nxs"
    }
    if run.step.queue == "per_image_analysis":  # in the order in which they are ready
        outputs = {output: sorted(texts) for output, texts in outputs.items()}
    return outputs, Counter(str(payload).replace(str(folder), "") for payload in run.refused), files


async def take_to_its_end(run, kills):
    for kill_at in kills:
        await run.process(kill_at)
    await run.process()
    assert run.is_over
    return run


@pytest.fixture(autouse=True)
def quick_watcher(monkeypatch):
    """Have the watcher's items seen at the same time in all runs, and have it look often."""
    monkeypatch.setattr(watching, "QUICKEST_POLL_S", 0.001)
    monkeypatch.setattr(watching.Clock, "__init__", _with_fixed_epoch(watching.Clock.__init__))


def _with_fixed_epoch(init):
    return lambda self, *args, **kwargs: init(self, *args, **{"epoch": lambda: 1e9, **kwargs})


@pytest.mark.parametrize(
    ("case", "sent", "refused", "files"),
    [
        (watch_pattern, 2 * 19, 0, 7),
        (watch_list_in_vain, 9, 0, 2),
        (watch_for_nobody, 3, 0, 2),
        (watch_nothing, 0, 2, 0),
        (analyse, 4, 2, 0),
        (draw, 0, 2, 3),
        (centre, 1, 0, 2),
        (centre_in_vain, 1, 1, 0),
        (centre_with_late_messages, 1, 2, 2),
        (archive_pattern, 8, 1, 8),
        (archive_list, 4, 1, 8),
        (mail, 0, 0, 3),
        (find_related_files, 4, 1, 0),
    ],
)
async def test_undisturbed_runs_do_something(case, sent, refused, files, new_folder):
    """Else the tests below would compare nothing with nothing."""
    folder = new_folder()
    run = await take_to_its_end(case(folder), [])
    assert (len(run.sent), len(run.refused), len(effects(run, folder)[2])) == (sent, refused, files)
    assert run.not_spoken_of == []


@pytest.mark.parametrize("case", CASES)
@given(kills=kills)
@hypothesis_settings(max_examples=25)
def test_a_step_killed_anywhere_does_everything_once(case, new_folder, kills):
    undisturbed, interrupted = new_folder(), new_folder()
    expected = effects(asyncio.run(take_to_its_end(case(undisturbed), [])), undisturbed)
    assert effects(asyncio.run(take_to_its_end(case(interrupted), kills)), interrupted) == expected


@given(kills=kills)
@hypothesis_settings(max_examples=50)
def test_no_image_is_analysed_again_whose_result_was_recorded(kills, new_folder):
    async def analyse_with_kills():
        run = analyse(new_folder())
        for kill_at in [*kills, None]:
            recorded = {payload["file"] for _, payload in run.sent}
            run.resources.asked.clear()
            await run.process(kill_at)
            assert recorded.isdisjoint(run.resources.asked)

    asyncio.run(analyse_with_kills())


@given(kills=kills, names=st.sets(st.sampled_from(["first", "last", "any", "finally", "select-2", "every-3", "4"])))
@hypothesis_settings(max_examples=50)
def test_images_that_come_while_the_watcher_works_and_dies_are_told_once_and_in_order(kills, names, new_folder):
    output = dict.fromkeys(["every", *names], 2)
    folder, expected = new_folder(), new_folder()
    to_come = iter(range(2, 8))

    async def watch_with_kills():
        run = watch_pattern(folder, there=1, output=output)
        for kill_at in [*kills, None]:  # with each entry of the journal comes one more image
            await run.process(kill_at, lambda: make_images(folder, itertools.islice(to_come, 1)))
        return run

    undisturbed = asyncio.run(take_to_its_end(watch_pattern(expected, output=output), []))
    run = asyncio.run(watch_with_kills())
    assert effects(run, folder) == effects(undisturbed, expected)
    assert run.progress[-1] == (7, 7)


@pytest.mark.parametrize("kill_at", range(6))
def test_what_a_watch_said_of_its_end_is_not_said_twice(kill_at, new_folder):
    """The image that it gave up comes after all, while it's dead: each output hears of one end."""
    folder = new_folder()

    async def watch_with_kill():
        run = watch_list_in_vain(folder)
        for moment in range(kill_at, kill_at + 9):
            await run.process(moment)
            make_images(folder, [3])
        return run

    run = asyncio.run(watch_with_kill())
    assert run.is_done
    heard = Counter(output for output, _ in run.sent)
    assert heard["finally"] == heard["any"] == 1
    assert heard["every"] in (2, 3)
    assert max(count for output, count in heard.items() if output not in ("every", "select-3", "every-2")) == 1
