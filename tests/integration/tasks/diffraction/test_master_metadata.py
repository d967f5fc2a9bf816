"""What DIALS reads of a master besides its images is asked for, all of it and nothing else, and never kept too long."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 read bitshuffle-LZ4
import numpy as np
import pytest

from tasks.diffraction.dials_processes.child_pool import ChildPool
from tasks.diffraction.errors import ImageAwaited
from tasks.diffraction.requests import AnalysisParameters, ImageRequest, Success
from tasks.nexus.errors import NotReady
from tasks.nexus.metadata import require_metadata
from tests.support.asking_dials import ask_dials

pytestmark = pytest.mark.dials

DETECTOR = "entry/instrument/detector"
METADATA = [f"{DETECTOR}/{name}" for name in ("pixel_mask", "bit_depth_readout", "saturation_value")]


@pytest.fixture
def master(pictures, tmp_path):
    path = tmp_path / "scan.nxs"
    shutil.copy(pictures.rotation_master, path)
    for file in Path(pictures.rotation_master).parent.glob("*_0*.h5"):
        (tmp_path / file.name).symlink_to(file)
    return path


@pytest.fixture
def meta(master):
    """The meta file, to which the metadata are moved."""
    path = master.with_name("scan_meta.h5")
    with h5py.File(master, "r+") as file, h5py.File(path, "w") as meta:
        for name in METADATA:
            leaf = name.rpartition("/")[2]
            file.copy(name, meta, leaf)
            del file[name]
            file[name] = h5py.ExternalLink("scan_meta.h5", leaf)
    return path


def ask(pool, master, *numbers):
    """Return the spots of images, or why there are none."""
    requests = [ImageRequest(str(master), AnalysisParameters().options, (number, number)) for number in numbers]
    outcomes = pool.meet(requests)
    return [each.value.statistics.n_spots_total if isinstance(each, Success) else each for each in outcomes]


def read_models(master):
    """Return all that dxtbx reads of a master besides its images; None if it can't."""
    from dxtbx.format.FormatNXmx import FormatNXmx

    try:
        image_format = FormatNXmx(str(master))
    except Exception:  # dxtbx raises whatever its parts do
        return None
    mask = image_format.get_static_mask()
    models = (
        image_format.get_detector(),
        image_format.get_beam(),
        image_format.get_goniometer(),
        image_format.get_scan(),
    )
    return (
        [str(model) for model in models],
        [panel.count(True) for panel in mask or ()],
        image_format._bit_depth_readout,
    )


def test_what_dials_reads_is_waited_for_and_nothing_else(master):
    """Each field in turn becomes a link to a file that isn't there."""
    whole = read_models(master)
    with h5py.File(master, "r") as file:
        fields = []
        file.visititems(lambda name, item: fields.append(name) if isinstance(item, h5py.Dataset) else None)
    missed, needless = [], []
    for name in fields:
        if name.startswith("entry/data/"):
            continue
        changed = master.with_name("changed.nxs")
        shutil.copy(master, changed)
        with h5py.File(changed, "r+") as file:
            del file[name]
            file[name] = h5py.ExternalLink("never.h5", "x")
        matters = read_models(changed) != whole
        try:
            require_metadata(str(changed))
        except NotReady:
            needless += [] if matters else [name]
        else:
            missed += [name] if matters else []
    assert len(fields) > 25
    # What makes no difference in this master does in others: Diamond's instrument's name chooses the format.
    assert {name.rpartition("/")[2] for name in needless} <= {"name", "omega_end", "underload_value", "frame_time"}
    assert not missed


def test_a_mask_that_changes_is_read_anew(master, meta, pool):
    """By the same process, whether the meta file is replaced or written in its place, or is gone."""
    [whole] = ask(pool, master, 1)
    new = meta.with_name("new.h5")
    shutil.copy(meta, new)
    with h5py.File(new, "r+") as file:
        file["pixel_mask"][:300] = 1
    new.replace(meta)
    [lower] = ask(pool, master, 1)
    with h5py.File(meta, "r+") as file:
        file["pixel_mask"][:] = 1 - np.minimum(file["pixel_mask"][:], 1)
    [upper] = ask(pool, master, 1)
    assert 0 < lower < whole
    assert 0 < upper < whole
    assert lower != upper
    assert upper == ask_dials(master, (1, 1))["n_spots_total"]
    meta.unlink()
    [gone] = ask(pool, master, 1)
    assert gone.may_pass
    assert "scan_meta.h5, which isn't there" in gone.reason


def test_what_dxtbx_takes_for_no_mask_by_a_fault_is_no_mask(master, monkeypatch):
    """A read that fails once while dxtbx reads: no error to it."""
    from dxtbx import nexus

    from tasks.diffraction.image_files.opening import open_data_set

    read, faults = nexus.get_static_mask, [None]
    monkeypatch.setattr(nexus, "get_static_mask", lambda detector: faults.pop() if faults else read(detector))
    with pytest.raises(ImageAwaited, match=r"has read .*scan\.nxs twice, and not the same"):
        open_data_set(str(master))
    assert open_data_set(str(master)).static_mask is not None


@pytest.mark.parametrize(
    ("path", "lack"),
    [
        ("entry/sample", "/entry has no group of class NXsample"),
        (f"{DETECTOR}/module", f"/{DETECTOR} has no group of class NXdetector_module"),
        ("entry/instrument/beam/incident_wavelength", "/entry/instrument/beam/incident_wavelength isn't there"),
        ("entry/definition", "/entry/definition isn't NXmx"),
    ],
)
def test_what_a_master_lacks_is_named(path, lack, master, pool):
    """Waited for as long as its file may be in the making."""
    with h5py.File(master, "r+") as file:
        del file[path]
    [young] = ask(pool, master, 1)
    os.utime(master, (1e9, 1e9))
    [old] = ask(pool, master, 1)
    assert (young.may_pass, old.may_pass) == (True, False)
    assert young.reason == f"the image file {master} isn't a whole master yet: {lack}"
    assert old.reason.startswith(f"DIALS can't read {master}: {lack} (")


def test_metadata_are_waited_for_while_their_writer_holds_them(master, meta, pool):
    with h5py.File(meta, "r+"):
        [held] = ask(pool, master, 1)
    assert held.may_pass
    assert "scan_meta.h5, which is held by a writer" in held.reason
    assert isinstance(ask(pool, master, 1)[0], int)


def test_data_files_that_are_written_again_are_read_anew(master, pool):
    first, last = ask(pool, master, 1, 6)
    data = next(path for path in master.parent.glob("*_0*.h5"))
    content = data.read_bytes()
    data.unlink()
    data.write_bytes(content)
    assert ask(pool, master, 1) == [first]
    with h5py.File(data, "r+") as file:
        file["data"][0] = file["data"][5]
    assert ask(pool, master, 1) == [last]


FAULTY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int fails(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = access(getenv("FAULT_ON"), F_OK) ? 0 : readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, getenv("FAULT_FILE")) != 0;
}
#define FAULTY(type, name, arguments, call) type name arguments { \\
    static type (*real) arguments; \\
    if (!real) real = dlsym(RTLD_NEXT, #name); \\
    if (fails(fd)) { errno = atoi(getenv("FAULT_ERRNO")); return -1; } \\
    return real call; }
FAULTY(ssize_t, pread, (int fd, void *to, size_t size, off_t from), (fd, to, size, from))
FAULTY(ssize_t, pread64, (int fd, void *to, size_t size, off_t from), (fd, to, size, from))
"""
"""Reads of a file fail, while another file is there."""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("gcc isn't there, by which reads are made to fail")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "faulty.c").write_text(FAULTY.replace("\\\\", "\\"))
    library = folder / "faulty.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, folder / "faulty.c", "-ldl"], check=True)
    return library


@pytest.mark.parametrize(
    ("which", "fault"), [("scan.nxs", errno.EIO), ("scan_meta.h5", errno.ESTALE), ("lysozyme_1_0", errno.ESTALE)]
)
def test_a_fault_of_a_file_system_is_waited_for(which, fault, master, meta, shim, monkeypatch):
    on = master.with_name("on")
    for name, value in (("FILE", which), ("ON", on), ("ERRNO", fault)):
        monkeypatch.setenv(f"FAULT_{name}", str(value))
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    pool = ChildPool()
    pool.prestart()
    monkeypatch.delenv("LD_PRELOAD")
    try:
        on.touch()
        [refused] = ask(pool, master, 1)
        assert refused.may_pass
        assert which in refused.reason
        assert os.strerror(fault) in refused.reason
        on.unlink()
        assert isinstance(ask(pool, master, 1)[0], int)
    finally:
        pool.close()
