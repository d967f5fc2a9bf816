"""Which files belong to a NeXus master, and what is missing."""

import logging
import shutil

import h5py
import numpy as np
import pytest

from blocks.errors import MessageRefused
from tasks.nexus.counting import count_images
from tasks.nexus_parser import find_related_files
from tasks.step.resources import Resources
from tasks.step.runner import try_step


def write_data(path, images, stored=None):
    """Write a data file with as many images, of which the first few are stored; all if not said."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (images, 4, 4), "u2", chunks=(1, 4, 4), maxshape=(None, 4, 4))
        for frame in range(images if stored is None else stored):
            data[frame] = frame


@pytest.fixture
def scan(tmp_path):
    """A master in `scan.nxs` of two data files with 3 and 2 images and a meta file, linked deep inside."""
    write_data(tmp_path / "scan_1.h5", 3)
    write_data(tmp_path / "scan_2.h5", 2)
    (tmp_path / "scan_meta.h5").write_bytes((tmp_path / "scan_2.h5").read_bytes())
    with h5py.File(tmp_path / "scan.nxs", "w") as master:
        data = master.create_group("entry/data")
        data["data_000001"] = h5py.ExternalLink("scan_1.h5", "/data")
        data["data_000002"] = h5py.ExternalLink("./scan_2.h5", "/data")
        data["omega"] = np.arange(5)
        detector = master.create_group("entry/instrument/detector")
        detector["mask"] = h5py.ExternalLink("scan_meta.h5", "/mask")
        detector["entry"] = master["entry"]  # a circle of hard links
        detector["shortcut"] = h5py.SoftLink("/entry/data")
    return tmp_path


async def run(parameters, payload=None):
    """Return what is sent, or raise why it was refused."""
    outcome = await try_step(find_related_files, {"parameters": parameters}, [payload or {}], Resources())
    for _, error in outcome.refused:
        raise error
    return [(send.output, send.payload) for send in outcome.sent]


def listing(folder):
    names = ["scan.nxs", "scan_1.h5", "scan_2.h5", "scan_meta.h5"]
    return [f"{folder}/{name}" for name in names]


@pytest.mark.parametrize("named_in_payload", [True, False])
async def test_every_file_and_all_of_them_are_sent(scan, named_in_payload):
    here = {"file": f"{scan}/scan.nxs"}
    sent = await run({} if named_in_payload else here, here if named_in_payload else {"file": "/ignored"})
    assert sent[:-1] == [("every", {"file": file}) for file in listing(scan)]
    assert sent[-1] == ("all", {"filelist": listing(scan)})


def test_all_is_the_default_output():
    assert find_related_files.default_output == "all"


def test_images_are_counted_by_file(scan):
    assert list(count_images(scan / "scan.nxs").values()) == [0, 3, 2, 0]


@pytest.mark.parametrize("expected", [5, "5", "4", None])
async def test_enough_images_are_no_error(scan, expected):
    sent = await run({"file": f"{scan}/scan.nxs", "expected_images": expected})
    assert [output for output, _ in sent] == ["every"] * 4 + ["all"]


async def test_missing_images_and_files_are_listed(scan):
    (scan / "scan_1.h5").unlink()
    (scan / "scan_meta.h5").unlink()
    sent = await run({"file": f"{scan}/scan.nxs", "expected_images": "5"})
    assert sent[0] == (
        "error",
        "Dataset contains 2 images instead of expected 5 images\n"
        f"File {scan}/scan.nxs contains 0 images\n"
        f"File {scan}/scan_1.h5 is invalid or missing\n"
        f"File {scan}/scan_2.h5 contains 2 images\n"
        f"File {scan}/scan_meta.h5 is invalid or missing",
    )
    assert sent[-1] == ("all", {"filelist": listing(scan)})


@pytest.mark.parametrize(("stored", "count"), [(3, 3), (2, 0), (0, 0)])
def test_a_data_file_without_its_last_image_counts_as_empty(scan, stored, count):
    write_data(scan / "scan_1.h5", 3, stored)
    assert count_images(scan / "scan.nxs")[f"{scan}/scan_1.h5"] == count


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_text("not HDF5"),
        lambda path: h5py.File(path, "w").close(),
    ],
)
def test_a_broken_data_file_is_invalid(scan, spoil):
    spoil(scan / "scan_1.h5")
    assert count_images(scan / "scan.nxs")[f"{scan}/scan_1.h5"] is None


def test_images_in_the_master_itself_count(tmp_path):
    with h5py.File(tmp_path / "scan.nxs", "w") as master:
        master["entry/data/data_000001"] = np.ones((7, 2, 2))
        master["entry/data/data_000002"] = np.ones((0, 2, 2))
    assert count_images(tmp_path / "scan.nxs") == {f"{tmp_path}/scan.nxs": 7}


@pytest.mark.parametrize(
    ("status", "errors"),
    [(None, 1), ("DataCollection Successful", 1), ("DataCollection Stopped", 0), ("", 0)],
)
@pytest.mark.parametrize("is_there", [True, False])
async def test_gaps_are_forgiven_when_the_run_did_not_end_well(scan, is_there, status, errors, caplog):
    caplog.set_level(logging.INFO)
    file = f"{scan}/scan.nxs" if is_there else f"{scan}/none.nxs"
    sent = await run({"file": file, "expected_images": 100, "run_status": status})
    texts = [payload for output, payload in sent if output == "error"]
    assert len(texts) == errors
    assert len(sent) - errors == (5 if is_there else 0)
    assert (caplog.records[-1].levelno == logging.ERROR) == bool(errors)


async def test_a_missing_master_is_an_error_and_nothing_more(tmp_path):
    assert await run({"file": f"{tmp_path}/none.nxs"}) == [("error", f"File {tmp_path}/none.nxs not found")]


def _write_master(path, **links):
    with h5py.File(path, "w") as master:
        for name, target in links.items():
            master[name.replace("__", "/")] = target


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text("not HDF5"), "can't be read"),
        (lambda path: _write_master(path, entry__other=1), "should be a NeXus file with a group /entry/data"),
        (lambda path: _write_master(path, entry__data=1), "should be a NeXus file with a group /entry/data"),
        (
            lambda path: _write_master(
                path,
                entry__data__data_1=h5py.ExternalLink("a.h5", "/data"),
                entry__data__data_2=h5py.ExternalLink("./a.h5", "/more"),
            ),
            "links two data sets to .*a.h5",
        ),
    ],
)
async def test_a_bad_master_is_refused(make, reason, tmp_path):
    make(tmp_path / "bad.nxs")
    with pytest.raises(MessageRefused, match=reason):
        await run({"file": f"{tmp_path}/bad.nxs"})


@pytest.mark.parametrize(
    ("parameters", "payload", "reason"),
    [
        ({}, {}, "needs the path of a file"),
        ({"file": ""}, {"file": None}, "needs the path of a file"),
        ({}, "text", "needs the path of a file"),
        ({}, {"file": 3}, "needs the path of a file"),
        ({"file": "/x", "expected_images": "None"}, {}, "expected_images.*seen 'None'"),
    ],
)
async def test_bad_messages_are_refused(parameters, payload, reason):
    with pytest.raises(MessageRefused, match=reason):
        await run(parameters, payload)


@pytest.mark.real_data
def test_a_real_master_names_all_its_files(tmp_path, real_data):
    shutil.copy(real_data / "masters" / "ins_8_5.nxs", tmp_path)
    data_files = [f"{tmp_path}/ins_8_5_{number:06d}.h5" for number in range(1, 5)]
    assert count_images(tmp_path / "ins_8_5.nxs") == {
        f"{tmp_path}/ins_8_5.nxs": 0,
        **dict.fromkeys(data_files),
        f"{tmp_path}/ins_8_5_meta.h5": None,
    }
