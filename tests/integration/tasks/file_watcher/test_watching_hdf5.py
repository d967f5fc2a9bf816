"""Watch a detector that writes HDF5 under SWMR in another process."""

import asyncio
import gzip
import logging
import os
import shutil
import signal
import subprocess
import sys
from contextlib import aclosing

import h5py
import numpy as np
import pytest

from blocks.errors import MessageRefused
from flows.resources import SiteResources
from tasks.file_watcher import hdf5_images, watch_files
from tasks.file_watcher.hdf5_images import Hdf5Images
from tasks.step import Message, StepContext
from tasks.step.runner import run_step, try_step
from tests.support import swmr_detector

OUTPUTS = dict.fromkeys(["first", "every", "last", "any", "finally", "timeout", "error"], 2)


class Detector:
    def __init__(self, folder, *, presized=False, link=True, per_file=(3,)):
        words = [str(folder), "presized" if presized else "growing", "link" if link else "file", *map(str, per_file)]
        self.process = subprocess.Popen(
            [sys.executable, "-P", swmr_detector.__file__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, *orders):
        for order in orders:
            self.process.stdin.write(f"{order}\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == f"{order}\n", "the detector died"

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def detector(tmp_path):
    detectors = []

    def make(**form):
        detectors.append(Detector(tmp_path, **form))
        return detectors[-1]

    yield make
    for each in detectors:
        each.kill()


@pytest.fixture
def images(tmp_path):
    source = Hdf5Images(str(tmp_path / "scan.nxs"))
    yield source
    assert source._reader is None, "the test should have closed it"


@pytest.mark.parametrize("presized", [True, False])
@pytest.mark.parametrize("link", [True, False])
async def test_an_image_is_there_when_it_is_flushed(detector, images, presized, link):
    scan = detector(presized=presized, link=link, per_file=(3, 2))
    try:
        assert await images.look(0, 100) == 0
        assert (images.expected, "scan.nxs, which isn't there" in images.waiting_for) == (None, True)
        scan.do("master")
        assert await images.look(0, 100) == 0
        assert (images.expected, "scan_1.h5, which isn't there" in images.waiting_for) == (5, True)
        scan.do("open 1")
        assert await images.look(0, 100) == 0
        assert "image 1 in" in images.waiting_for
        scan.do("write 1 1", "write 1 2")
        assert await images.look(0, 100) == 0, "unflushed images can't be read by others"
        scan.do("flush 1")
        assert await images.look(0, 100) == 2
        assert await images.look(2, 100) == 0
        scan.do("write 1 3", "flush 1")
        assert await images.look(2, 100) == 1
        assert "scan_2.h5, which isn't there" in images.waiting_for
        scan.do("open 2", "write 2 1", "write 2 2", "flush 2")
        assert await images.look(3, 1) == 1
        assert await images.look(4, 100) == 1
        assert images.waiting_for is None
    finally:
        await images.close()


async def test_images_written_out_of_order_wait_for_the_gap(detector, images):
    scan = detector(presized=True)
    try:
        scan.do("master", "open 1", "write 1 3", "write 1 1", "flush 1")
        assert await images.look(0, 100) == 1
        scan.do("write 1 2", "flush 1")
        assert await images.look(1, 100) == 2
    finally:
        await images.close()


async def test_a_finished_file_is_seen_whole(detector, images):
    scan = detector(per_file=(3, 1))
    try:
        scan.do("master", "open 1", "write 1 1", "write 1 2", "write 1 3", "close 1")
        scan.do("open 2", "write 2 1", "close 2")
        assert await images.look(0, 100) == 4
    finally:
        await images.close()


async def test_a_killed_writer_leaves_what_it_flushed(detector, images):
    scan = detector()
    try:
        scan.do("master", "open 1", "write 1 1", "flush 1", "write 1 2")
        scan.kill()
        assert await images.look(0, 100) == 1
        assert await images.look(1, 100) == 0
    finally:
        await images.close()


async def test_a_killed_reader_is_replaced_and_nothing_is_lost(detector, images):
    scan = detector()
    try:
        scan.do("master", "open 1", "write 1 1", "flush 1")
        assert await images.look(0, 100) == 1
        os.kill(images._reader.pid, signal.SIGKILL)
        scan.do("write 1 2", "flush 1")
        assert await images.look(1, 100) == 1
    finally:
        await images.close()


async def test_a_reader_that_dies_at_once_refuses_and_its_last_words_are_logged(tmp_path, images, monkeypatch, caplog):
    crash = tmp_path / "crash.py"
    crash.write_text("raise SystemExit('HDF5 is broken')")
    monkeypatch.setattr(hdf5_images, "PROGRAM", (str(crash),))
    (tmp_path / "scan.nxs").write_text("x")
    with pytest.raises(MessageRefused, match="died twice in a row"):
        await images.look(0, 100)
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"reader of {tmp_path / 'scan.nxs'}: HDF5 is broken"] * 2


# What it does at its first start, then how it answers
READER = """
import pathlib, sys, time
mark = pathlib.Path(sys.argv[1]).with_name("started")
for line in sys.stdin:
    if not mark.exists():
        mark.touch()
        {at_first}
    print('{{"found": 1, "expected": 2, "waiting_for": null}}', flush=True)
"""


@pytest.fixture
def reader_program(tmp_path, monkeypatch):
    """Make a program that stands for the reader, and may compute for 0.3 s."""

    def make(at_first):
        (tmp_path / "reader.py").write_text(READER.format(at_first=at_first))
        monkeypatch.setattr(hdf5_images, "PROGRAM", (str(tmp_path / "reader.py"),))
        monkeypatch.setattr(hdf5_images, "COMPUTING_LIMIT_S", 0.3)
        (tmp_path / "scan.nxs").write_text("x")

    return make


async def test_a_reader_in_an_endless_loop_is_ended_and_the_look_tried_again(tmp_path, images, reader_program):
    reader_program("while True: pass")
    try:
        async with asyncio.timeout(60):
            looking = asyncio.create_task(images.look(0, 100))
            while images._reader is None:
                await asyncio.sleep(0)
            hung = images._reader
            assert await looking == 0
        assert images.waiting_for.startswith(f"{tmp_path}/scan.nxs, which can't be read yet")
        assert hung.returncode == -signal.SIGKILL
        assert (await images.look(0, 100), images.expected, images.waiting_for) == (1, 2, None)
    finally:
        await images.close()


async def test_a_reader_that_waits_for_its_file_system_is_waited_for(images, reader_program):
    reader_program("time.sleep(0.7)")
    try:
        assert await images.look(0, 100) == 1
        assert images.slowest_look_s > 0.7
    finally:
        await images.close()


async def test_the_reader_ends_with_its_watch(detector, images):
    detector().do("master")
    await images.look(0, 100)
    reader = images._reader
    await images.close()
    assert reader.returncode == 0


async def test_a_cancelled_watch_takes_its_reader_along(tmp_path, detector, monkeypatch):
    detector().do("master")
    readers, looked = [], asyncio.Event()

    async def start_and_remember(self):
        readers.append(await start(self))
        looked.set()
        return readers[-1]

    start = Hdf5Images._start_reader
    monkeypatch.setattr(Hdf5Images, "_start_reader", start_and_remember)
    node = {"parameters": {"hdf5": f"{tmp_path}/scan.nxs"}, "output": OUTPUTS}
    watching = asyncio.create_task(try_step(watch_files, node, [{}], SiteResources()))
    await looked.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    async with asyncio.timeout(60):
        # by force where the watch was cancelled in the middle of a question
        assert await readers[0].wait() in (0, -signal.SIGKILL)


async def test_a_file_that_its_writer_locks_is_waited_for(tmp_path, detector, images):
    detector().do("master")
    try:
        with h5py.File(tmp_path / "scan_1.h5", "w") as writer:
            writer.flush()
            assert await images.look(0, 100) == 0
            assert "is held by a writer" in images.waiting_for
            writer["data"] = np.ones((3, 8, 8))
            del writer["data"]
            writer.create_dataset("data", data=np.ones((3, 8, 8)), chunks=(1, 8, 8))
        assert await images.look(0, 100) == 3
    finally:
        await images.close()


async def test_a_watched_data_file_can_be_opened_by_its_writer_again(tmp_path, detector, images):
    scan = detector()
    try:
        scan.do("master", "open 1", "write 1 1", "close 1")
        assert await images.look(0, 100) == 1
        with h5py.File(tmp_path / "scan_1.h5", "r+", libver=("v110", "v110")) as writer:
            writer.swmr_mode = True
            writer["data"].resize(2, axis=0)
            writer["data"][1] = 2
            writer["data"].flush()
            assert await images.look(1, 100) == 1
    finally:
        await images.close()


async def test_a_truncated_master_is_waited_for(tmp_path, detector, images):
    detector().do("master")
    master = tmp_path / "scan.nxs"
    whole = master.read_bytes()
    master.write_bytes(whole[: len(whole) // 2])
    try:
        assert await images.look(0, 100) == 0
        assert "truncated" in images.waiting_for
        master.write_bytes(whole)
        assert await images.look(0, 100) == 0
        assert images.expected == 3
    finally:
        await images.close()


def _write(path, **contents):
    with h5py.File(path, "w") as file:
        for name, value in contents.items():
            file[name.replace("__", "/")] = value


def _write_virtual(path, *mappings, shape=(4, 8, 8)):
    layout = h5py.VirtualLayout(shape, "u4")
    for selection, source, frames in mappings:
        layout[selection] = source[frames]
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file.create_group("entry/data").create_virtual_dataset("data", layout)


_SOURCE = h5py.VirtualSource("scan_1.h5", "/data", (4, 8, 8), "u4")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text("not HDF5 at all"), "can't be read: .*file signature not found"),
        (lambda path: _write(path, entry=1), "should have a virtual dataset /entry/data/data"),
        (lambda path: _write(path, entry__data__data=np.ones((2, 2))), "should have a virtual dataset"),
        (lambda path: _write(path, entry__data__data__x=1), "should have a virtual dataset"),
    ],
)
async def test_a_master_that_will_never_do_is_refused(make, reason, tmp_path):
    master = tmp_path / "scan.nxs"
    make(master)
    node = {"parameters": {"hdf5": str(master), "timeout": 3}, "output": OUTPUTS}
    outcome = await try_step(watch_files, node, [{}], SiteResources())
    assert outcome.sent == []
    with pytest.raises(MessageRefused, match=reason):
        raise outcome.refused[0][1]


async def test_a_virtual_dataset_with_gaps_expects_what_it_maps_and_keeps_its_numbers(tmp_path, images):
    _write_virtual(tmp_path / "scan.nxs", (slice(2, 7, 4), _SOURCE, slice(1, 3)), shape=(9, 8, 8))
    with h5py.File(tmp_path / "scan_1.h5", "w") as file:
        data = file.create_dataset("data", (4, 8, 8), "u4", chunks=(1, 8, 8))
        data[1] = 1
    try:
        assert (await images.look(0, 100), images.expected) == (1, 2)
        assert [images.item(number)["file-number"] for number in (1, 2)] == [3, 7]
        assert images.missing(2)["hdf5-index"] == 6
        assert images.waiting_for == f"image 7 in {tmp_path}/scan_1.h5"
    finally:
        await images.close()


async def test_a_virtual_dataset_elsewhere_is_waited_for(tmp_path, images):
    (tmp_path / "raw").mkdir()
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        file["entry/data/data"] = h5py.ExternalLink("raw/scan_vds.h5", "/entry/data/data")
    with h5py.File(tmp_path / "raw/scan_1.h5", "w") as file:
        file.create_dataset("data", data=np.ones((4, 8, 8), "u4"), chunks=(1, 8, 8))
    try:
        assert (await images.look(0, 100), images.expected) == (0, None)
        assert images.waiting_for == f"{tmp_path}/raw/scan_vds.h5, which isn't there"
        _write_virtual(tmp_path / "raw/scan_vds.h5", (slice(0, 4), _SOURCE, slice(0, 4)))
        assert (await images.look(0, 100), images.expected) == (4, 4)
    finally:
        await images.close()


async def test_a_master_of_zeros_is_waited_for(tmp_path, detector, images):
    detector().do("master")
    master = tmp_path / "scan.nxs"
    whole = master.read_bytes()
    master.write_bytes(bytes(len(whole)))
    try:
        assert await images.look(0, 100) == 0
        assert "can't be read yet" in images.waiting_for
        master.write_bytes(whole)
        assert await images.look(0, 100) == 0
        assert images.expected == 3
    finally:
        await images.close()


async def test_images_are_told_as_they_come(tmp_path, detector):
    """The whole step, live: each image is told before the next one is taken."""
    scan = detector(per_file=(2, 1))
    master = str(tmp_path / "scan.nxs")
    node = {"parameters": {"hdf5": master, "timeout": "100"}, "output": OUTPUTS}

    async def inbox():
        yield Message({}, {"ID": "x"})

    context = StepContext(node, "test", SiteResources(), lambda *refused: pytest.fail(f"refused {refused}"))
    orders = iter([("write 1 2", "flush 1"), ("close 1", "open 2", "write 2 1", "flush 2"), (), ()])
    told = []
    scan.do("master", "open 1", "write 1 1", "flush 1")
    async with asyncio.timeout(120), aclosing(run_step(watch_files, inbox(), context)) as sends:
        async for send in sends:
            told.append(send)
            if send.output == "every":
                scan.do(*next(orders))
    assert [send.output for send in told] == ["first", "every", "every", "every", "last", "any", "finally"]
    assert all(send.follows.environment == {"ID": "x"} for send in told)
    assert [bool(send.completes) for send in told] == [False] * 6 + [True]
    third = told[3].payload
    assert third.pop("file-seen-at") > 1e9
    assert third == {
        "hdf5": master,
        "hdf5-index": 2,
        "file": master,
        "file-number": 3,
        "parameters": {"scan_range": "3,3"},
    }
    assert told[-2].payload == {"images-expected": 3, "images-seen": 3}
    assert told[-1].payload == {"images-expected": 3, "images-seen": 3, "success": True}


async def test_a_master_that_never_comes_times_out(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    master = f"{tmp_path}/scan.nxs"
    node = {"parameters": {"hdf5": master, "timeout": 100, "timeout-first": 0.2}, "output": OUTPUTS}
    outcome = await try_step(watch_files, node, [{}], SiteResources())
    assert [(send.output, send.payload) for send in outcome.sent] == [
        ("timeout", {"file": master, "hdf5-index": 0, "success": False}),
        ("finally", {"images-expected": None, "images-seen": 0, "success": False}),
    ]
    assert "0 of an unknown number of images found" in caplog.text


@pytest.fixture
def real_masters(tmp_path, real_data):
    for name in ("ins_8_5.nxs", "xrc_209_master.h5"):
        shutil.copy(real_data / "masters" / name, tmp_path)
    with gzip.open(real_data / "masters" / "ins_8_5_meta.h5.gz") as packed:
        (tmp_path / "ins_8_5_meta.h5").write_bytes(packed.read())
    return tmp_path


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "expected", "data_file"),
    [("ins_8_5.nxs", 3600, "ins_8_5_000001.h5"), ("xrc_209_master.h5", 240, "xrc_209_000001.h5")],
)
async def test_a_real_master_without_data_files_times_out_and_names_them(
    real_masters, name, expected, data_file, caplog
):
    caplog.set_level(logging.INFO)
    node = {"parameters": {"hdf5": f"{real_masters}/{name}", "timeout": 0.2}, "output": OUTPUTS}
    outcome = await try_step(watch_files, node, [{}], SiteResources())
    assert [send.output for send in outcome.sent] == ["timeout", "finally"]
    assert outcome.sent[-1].payload == {"images-expected": expected, "images-seen": 0, "success": False}
    assert f"waiting for {real_masters}/{data_file}, which isn't there" in caplog.text


@pytest.mark.real_data
async def test_real_eiger_images_are_seen_as_far_as_they_are_stored(real_data):
    node = {"parameters": {"hdf5": f"{real_data}/therm/Therm_6_2.nxs", "timeout": 0.2}, "output": OUTPUTS}
    outcome = await try_step(watch_files, node, [{}], SiteResources())
    assert [send.output for send in outcome.sent] == ["first", *["every"] * 4, "timeout", "any", "finally"]
    assert outcome.sent[-1].payload == {"images-expected": 488, "images-seen": 4, "success": False}
    assert outcome.sent[-3].payload["hdf5-index"] == 4
