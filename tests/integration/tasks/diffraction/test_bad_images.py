"""Images that can't be what they say they are: each costs itself alone, whichever way images are done.

A sweep of good images has a bad one in its midst. All go through one DIALS process, which has to survive it, and whose
other images have to have their numbers; what is refused names its file and the reason.
"""

from __future__ import annotations

import asyncio
import base64
import bz2
import gzip
import hashlib
import re
import shutil
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from blocks.settings import Settings
from flows.resources import SiteResources
from tasks.diffraction.requests import AnalysisParameters, Failure, ImageRequest, Success
from tasks.per_image_analysis import analyse_images
from tasks.simulation.collection import render
from tasks.simulation.geometry import DetectorSize, Geometry
from tasks.simulation.plan import CollectionPlan, ImageFormat
from tasks.step.runner import try_step
from tests.support.image_files import make_cbf

pytestmark = pytest.mark.dials

OPTIONS = AnalysisParameters().options
IMAGES, BAD = 3, 2
WAYS = pytest.mark.parametrize("by_dials", [None, "it's the test"], ids=["own-way", "dials"])


@pytest.fixture
def meet(pool):
    """Have images done by one process, which isn't to end by any of them unless HDF5's own filters read them."""

    def meet(requests, may_end=False):
        pids = {child.pid for child in pool._idle}
        outcomes = pool.meet(requests)
        if not may_end:
            assert not any(isinstance(outcome, Failure) and outcome.ended_process for outcome in outcomes)
            assert not pids or {child.pid for child in pool._idle} == pids
        return outcomes

    return meet


@pytest.fixture(scope="module")
def right(pictures, pool):
    """The statistics of each image of the sweep of CBFs, by DIALS."""
    files = pictures.rotation_cbfs[:IMAGES]
    return _judged(pool, [ImageRequest(file, OPTIONS, by_dials="it's the judge") for file in files])


@pytest.fixture(scope="module")
def right_in_master(pictures, pool):
    """Those of the master, whose geometry has a few more digits."""
    file = pictures.rotation_master
    return _judged(pool, [ImageRequest(file, OPTIONS, (n, n), by_dials="it's the judge") for n in range(1, IMAGES + 1)])


def _judged(pool, requests):
    return {number: outcome.value.statistics for number, outcome in enumerate(pool.meet(requests), 1)}


def check_others(outcomes, right):
    assert sorted(outcomes) == sorted(right)
    for number, outcome in outcomes.items():
        if number != BAD:
            assert isinstance(outcome, Success), outcome
            assert outcome.value.statistics == right[number]


MARK = b"\x0c\x1a\x04\xd5"


def stream_of(cbf):
    """Return where a CBF's compressed pixels are: from where, and how many bytes."""
    size = int(re.search(rb"X-Binary-Size: +(\d+)", cbf)[1])
    return cbf.index(MARK) + len(MARK), size


def with_stream(cbf, stream, **header):
    """Return a CBF with other compressed pixels, whose header says what is right of them, or what is asked for."""
    start, size = stream_of(cbf)
    digest = base64.b64encode(hashlib.md5(stream).digest()).decode()
    changed = {"X-Binary-Size": len(stream), "Content-MD5": digest, **header}
    head = cbf[:start]
    for name, value in changed.items():
        head = re.sub(rf"({name}: *)[^\r\n]*".encode(), lambda found, value=value: found[1] + str(value).encode(), head)
    return head + stream + cbf[start + size :]


def early(cbf):
    start, size = stream_of(cbf)
    return with_stream(cbf, cbf[start : start + size // 2])


def late(cbf):
    start, size = stream_of(cbf)
    return with_stream(cbf, cbf[start : start + size] + bytes(1000))


def torn(cbf):
    """The last step of the stream lacks the bytes that it announces."""
    start, size = stream_of(cbf)
    return with_stream(cbf, cbf[start : start + size - 1] + b"\x80")


def with_header(**header):
    def change(cbf):
        start, size = stream_of(cbf)
        return with_stream(cbf, cbf[start : start + size], **header)

    return change


BAD_CBFS = {
    "truncated": lambda cbf: cbf[: len(cbf) // 2],
    "stream ends early": early,
    "stream goes on": late,
    "stream is torn": torn,
    "wrong digest": with_header(**{"Content-MD5": base64.b64encode(bytes(16)).decode()}),
    "other width": with_header(**{"X-Binary-Size-Fastest-Dimension": 486}),
    "other height": with_header(**{"X-Binary-Size-Second-Dimension": 618}),
    "other number": with_header(**{"X-Binary-Number-of-Elements": 1}),
    "huge": with_header(**{"X-Binary-Size-Fastest-Dimension": 2**31 - 1, "X-Binary-Size-Second-Dimension": 2**31 - 1}),
    "negative": with_header(**{"X-Binary-Size-Fastest-Dimension": -487}),
    "no stream": lambda cbf: with_stream(cbf, b""),
    "compressed otherwise": lambda cbf: cbf.replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_NOBODY_KNOWS"),
    "other type": lambda cbf: cbf.replace(b"signed 32-bit integer", b"signed 64-bit real IEEE"),
    "no binary section": lambda cbf: cbf[: cbf.index(b"--CIF-BINARY")],
    "no header": lambda cbf: cbf[cbf.index(b"--CIF-BINARY") :],
    "of another detector": lambda cbf: make_cbf(),
    "text": lambda cbf: b"not an image at all\n" * 1000,
    "noise": lambda cbf: np.random.default_rng(1).bytes(100_000),
    "empty": lambda cbf: b"",
}
MAY_BE_READ = {"wrong digest", "stream goes on", "other number", "of another detector", "other type"}
"""What nobody may mind: a digest isn't always checked, another detector's image is an image."""


PACKED = [(name, pack) for name in ("truncated", "stream ends early", "huge", "noise") for pack in (".gz", ".bz2")]


@WAYS
@pytest.mark.parametrize(("name", "packed"), [*((name, "") for name in BAD_CBFS), *PACKED])
def test_a_bad_cbf_costs_itself_alone(name, packed, by_dials, meet, pictures, right, tmp_path):
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[packed]
    files = {}
    for number, source in enumerate(pictures.rotation_cbfs[:IMAGES], 1):
        content = Path(source).read_bytes()
        files[number] = tmp_path / f"a_{number}.cbf{packed if number == BAD else ''}"
        files[number].write_bytes(pack(BAD_CBFS[name](content)) if number == BAD else content)
    requests = [ImageRequest(str(file), OPTIONS, by_dials=by_dials) for file in files.values()]
    outcomes = dict(enumerate(meet(requests), 1))
    check_others(outcomes, right)
    bad = outcomes[BAD]
    if name in MAY_BE_READ and isinstance(bad, Success):
        return
    assert isinstance(bad, Failure), bad
    assert str(files[BAD]) in bad.reason
    assert len(bad.reason) < 1000


@pytest.mark.parametrize("name", sorted(MAY_BE_READ))
def test_what_may_be_read_is_the_same_by_either_way(name, meet, pictures, tmp_path):
    file = tmp_path / "a_1.cbf"
    file.write_bytes(BAD_CBFS[name](Path(pictures.rotation_cbfs[0]).read_bytes()))
    own, by_dials = meet([ImageRequest(str(file), OPTIONS, by_dials=why) for why in (None, "it's the test")])
    if isinstance(by_dials, Success):
        assert isinstance(own, Success), own
        assert own.value.statistics == by_dials.value.statistics
    else:
        assert isinstance(own, Failure), own


class Master:
    """A copy of the rendered master, with its images stored anew, a chunk each."""

    def __init__(self, folder, rendered):
        self.path = folder / "scan.nxs"
        shutil.copy(rendered, self.path)
        with h5py.File(rendered, "r") as file:
            self.images = file["entry/data/data"][:IMAGES]

    def store(self, images, **options):
        options = {**hdf5plugin.Bitshuffle(), "chunks": (1, *images.shape[1:]), **options}
        with h5py.File(self.path, "r+") as file:
            attributes = dict(file["entry/data/data"].attrs)
            del file["entry/data/data"]
            data = file.create_dataset("entry/data/data", data=images, **options)
            data.attrs.update(attributes)

    def write_chunk(self, content, number=BAD, filter_mask=0):
        with h5py.File(self.path, "r+") as file:
            file["entry/data/data"].id.write_direct_chunk((number - 1, 0, 0), content, filter_mask)

    def chunk(self, number=BAD):
        with h5py.File(self.path, "r") as file:
            return file["entry/data/data"].id.read_direct_chunk((number - 1, 0, 0))[1]

    def requests(self, by_dials):
        numbers = range(1, len(self.images) + 1)
        return [ImageRequest(str(self.path), OPTIONS, (number, number), by_dials=by_dials) for number in numbers]


@pytest.fixture
def master(pictures, tmp_path):
    master = Master(tmp_path, pictures.rotation_master)
    master.store(master.images)
    return master


def noise(master):
    return np.random.default_rng(2).bytes(len(master.chunk()))


def with_size(size):
    """Return a change of a bitshuffled chunk: it says of itself that it has so many bytes, in blocks of so many."""

    def change(master):
        return size + master.chunk()[12:]

    return change


BAD_CHUNKS = {
    "noise": noise,
    "noise after its header": lambda master: master.chunk()[:12] + noise(master)[12:],
    "half": lambda master: master.chunk()[: len(master.chunk()) // 2],
    "header alone": lambda master: master.chunk()[:12],
    "less than a header": lambda master: master.chunk()[:5],
    "one byte": lambda master: b"\0",
    "zeros": lambda master: bytes(len(master.chunk())),
    "too large": with_size((2**60).to_bytes(8, "big") + (8192).to_bytes(4, "big")),
    "no blocks": with_size((603 * 1024).to_bytes(8, "big") + bytes(4)),
    "huge blocks": with_size((603 * 1024).to_bytes(8, "big") + b"\xff\xff\xff\xf8"),
    "negative": with_size(b"\xff" * 12),
    "a bit flipped": lambda master: bytes(
        byte ^ (1 if place == len(master.chunk()) // 2 else 0) for place, byte in enumerate(master.chunk())
    ),
}
BIT_MAY_STAY_UNSEEN = {"a bit flipped", "noise after its header"}


@WAYS
@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_bad_chunk_costs_its_image_alone(name, by_dials, meet, master, right_in_master):
    master.write_chunk(BAD_CHUNKS[name](master))
    # HDF5's filter for bitshuffle looks at no bounds: what it does with such a chunk is a matter of luck
    outcomes = dict(enumerate(meet(master.requests(by_dials), may_end=by_dials is not None), 1))
    check_others(outcomes, right_in_master)
    bad = outcomes[BAD]
    if name in BIT_MAY_STAY_UNSEEN and isinstance(bad, Success):
        return
    assert isinstance(bad, Failure), bad
    assert str(master.path) in bad.reason
    assert re.search(rf"\b{BAD}\b", bad.reason.replace(str(master.path), ""))
    assert len(bad.reason) < 1000


@WAYS
def test_a_chunk_that_is_not_there_is_an_image_that_is_not_written(by_dials, meet, master, right_in_master):
    images = master.images
    with h5py.File(master.path, "r+") as file:
        attributes = dict(file["entry/data/data"].attrs)
        del file["entry/data/data"]
        data = file.create_dataset(
            "entry/data/data", images.shape, images.dtype, chunks=(1, *images.shape[1:]), **hdf5plugin.Bitshuffle()
        )
        for number, image in enumerate(images, 1):
            if number != BAD:
                data[number - 1] = image
        data.attrs.update(attributes)
    outcomes = dict(enumerate(meet(master.requests(by_dials)), 1))
    check_others(outcomes, right_in_master)
    assert isinstance(outcomes[BAD], Failure)
    assert str(master.path) in outcomes[BAD].reason


STORED = {
    "as it is": {},
    "LZ4": hdf5plugin.LZ4(),
    "bitshuffle-zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle alone": hdf5plugin.Bitshuffle(cname="none"),
    "gzip": {"compression": "gzip"},
    "shuffle and gzip": {"compression": "gzip", "shuffle": True},
    "blosc": hdf5plugin.Blosc(),
    "with checksums": {**hdf5plugin.Bitshuffle(), "fletcher32": True},
    "two images a chunk": {"chunks": (2, 100, 487)},
    "parts of images": {"chunks": (1, 100, 200)},
}


@WAYS
@pytest.mark.parametrize("how", STORED)
def test_however_images_are_stored_their_numbers_are_the_same(how, by_dials, meet, master, right_in_master):
    options = {"compression": None, "compression_opts": None, **STORED[how]}
    master.store(master.images, **options)
    outcomes = dict(enumerate(meet(master.requests(by_dials)), 1))
    assert {number: outcome.value.statistics for number, outcome in outcomes.items()} == right_in_master


@WAYS
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2", ">i4", "f4", "f8"])
def test_any_type_of_counts_gives_dials_s_numbers_or_a_reason(dtype, by_dials, meet, master, right_in_master):
    images = np.clip(master.images.astype("i8"), 0, 100).astype(dtype)
    master.store(images)
    outcomes = meet(master.requests(by_dials))
    judged = meet(master.requests("it's the test"))
    for outcome, judge in zip(outcomes, judged, strict=True):
        assert type(outcome) is type(judge), (outcome, judge)
        if isinstance(outcome, Success):
            assert outcome.value.statistics == judge.value.statistics
        else:
            assert str(master.path) in outcome.reason


@WAYS
def test_a_compression_that_nobody_knows_is_named(by_dials, meet, master, right_in_master):
    images = master.images
    with h5py.File(master.path, "r+") as file:
        attributes = dict(file["entry/data/data"].attrs)
        del file["entry/data/data"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, *images.shape[1:]))
        properties.set_filter(32100, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        space = h5py.h5s.create_simple(images.shape)
        kind = h5py.h5t.py_create(images.dtype)
        data = h5py.Dataset(h5py.h5d.create(file["entry/data"].id, b"data", kind, space, properties))
        for number, image in enumerate(images):
            data.id.write_direct_chunk((number, 0, 0), image.tobytes())
        data.attrs.update(attributes)
    for outcome in meet(master.requests(by_dials)):
        assert isinstance(outcome, Failure), outcome
        assert str(master.path) in outcome.reason
        assert "filter" in outcome.reason.lower() or "compress" in outcome.reason.lower()


@WAYS
@pytest.mark.parametrize("shape", [(3, 300, 487), (3, 619, 400), (619, 487), (3, 0, 487)])
def test_images_smaller_than_their_detector_are_refused(shape, by_dials, meet, master):
    chunks = (1, *shape[1:]) if len(shape) == 3 and all(shape) else None
    options = {} if chunks else {"compression": None, "compression_opts": None}
    master.store(np.ones(shape, master.images.dtype), chunks=chunks, **options)
    for outcome in meet(master.requests(by_dials)):
        assert isinstance(outcome, Failure), outcome
        assert str(master.path) in outcome.reason


def test_of_images_larger_than_their_detector_both_ways_take_the_same(meet, master):
    master.store(np.pad(master.images, ((0, 0), (0, 81), (0, 13)), constant_values=7))
    own, judged = (meet(master.requests(by_dials)) for by_dials in (None, "it's the judge"))
    for outcome, judge in zip(own, judged, strict=True):
        assert outcome.value.statistics == judge.value.statistics


@WAYS
@pytest.mark.parametrize("shape", [(10, 10), (487, 619), (619,), (2, 619, 487)])
def test_a_mask_of_another_shape_is_no_crash(shape, by_dials, meet, master):
    detector = "entry/instrument/detector"
    with h5py.File(master.path, "r+") as file:
        if f"{detector}/pixel_mask" in file:
            del file[f"{detector}/pixel_mask"]
        file[f"{detector}/pixel_mask"] = np.zeros(shape, "u4")
    outcomes = meet(master.requests(by_dials))
    judged = meet(master.requests("it's the test"))
    assert [type(outcome) for outcome in outcomes] == [type(judge) for judge in judged]
    for outcome in outcomes:
        assert isinstance(outcome, Success) or str(master.path) in outcome.reason


@pytest.fixture(scope="module")
def master_of_another_detector(tmp_path_factory):
    """A master of a larger detector, with as many images in it."""
    folder = tmp_path_factory.mktemp("other")
    geometry = Geometry.of(DetectorSize.M2, 0.9795, 120.0)
    plan = CollectionPlan.rotation(IMAGES, 0.5, image_format=ImageFormat.NXS, geometry=geometry)
    sweep = asyncio.run(render(plan, folder))
    other = Master(folder, Path(sweep.folder) / sweep.template)
    other.store(other.images)
    return other


@WAYS
def test_a_master_that_is_replaced_by_one_of_another_detector_is_read_anew(
    by_dials, meet, master, right_in_master, master_of_another_detector, tmp_path
):
    other = master_of_another_detector
    before = meet(master.requests(by_dials)[:2])
    assert [outcome.value.statistics for outcome in before] == [right_in_master[number] for number in (1, 2)]
    shutil.copy(other.path, tmp_path / "new.nxs")
    (tmp_path / "new.nxs").replace(master.path)
    after = meet(master.requests(by_dials)[2:])
    judged = meet(other.requests("it's the test")[2:])
    assert [outcome.value.statistics for outcome in after] == [judge.value.statistics for judge in judged]
    assert after[0].value.statistics != right_in_master[3]


@pytest.mark.parametrize("one_in", [0, 1], ids=["own-way", "both-ways"])
async def test_of_a_run_with_all_kinds_of_bad_images_the_rest_goes_on(one_in, pictures, master, right, tmp_path):
    master.write_chunk(noise(master)[:100])
    content = Path(pictures.rotation_cbfs[0]).read_bytes()
    payloads = {}
    for name, spoil in BAD_CBFS.items():
        if name not in MAY_BE_READ:
            file = tmp_path / f"{name}.cbf"
            file.write_bytes(spoil(content))
            payloads[str(file)] = {"file": str(file)}
    payloads["chunk"] = {"file": str(master.path), "parameters": {"scan_range": [BAD, BAD]}}
    good = [{"file": file, "file-number": number} for number, file in enumerate(pictures.rotation_cbfs[:IMAGES], 1)]
    mixed = [payload for bad in payloads.values() for payload in (bad, *good)]
    settings = Settings(home=tmp_path, dask_scheduler=None, analysis_workers=1, spots_checked_one_in=one_in)
    async with SiteResources(settings) as resources:
        outcome = await try_step(analyse_images, {"parameters": {}}, mixed, resources)
    assert len(outcome.sent) == len(payloads) * IMAGES
    for send in outcome.sent:
        assert send.payload["n_spots_total"] == right[send.payload["file-number"]].n_spots_total
    refused = {message.payload["file"]: str(error) for message, error in outcome.refused}
    assert refused.keys() == {payload["file"] for payload in payloads.values()}
    assert all(file in reason for file, reason in refused.items())
    assert outcome.notes.counts()["images"] == len(outcome.sent)
    assert outcome.notes.warnings() == []
