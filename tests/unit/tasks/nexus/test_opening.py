"""A file in the making is waited for; one that will never do isn't."""

import errno
import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from tasks.nexus import opening
from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.locks import is_held_by_writer
from tasks.nexus.metadata import require_metadata
from tasks.nexus.opening import IN_THE_MAKING_S, not_ready_or_unusable, open_file
from tests.support.masters import write_frames, write_virtual


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileAbsent, match=f"{tmp_path}/scan.h5, which isn't there"):
        open_file(f"{tmp_path}/scan.h5")


@pytest.mark.parametrize("content", [b"", bytes(100), bytes(100_000)])
def test_an_empty_file_is_not_ready(tmp_path, content):
    (tmp_path / "scan.h5").write_bytes(content)
    with pytest.raises(NotReady, match="can't be read yet"):
        open_file(f"{tmp_path}/scan.h5")


def test_another_kind_of_file_is_unusable(tmp_path):
    (tmp_path / "scan.h5").write_text("hello" * 1000)
    with pytest.raises(UnusableMaster, match="file signature not found"):
        open_file(f"{tmp_path}/scan.h5")


@pytest.mark.parametrize("libver", ["earliest", "v110"])
@pytest.mark.parametrize("which", ["scan.nxs", "scan_1.h5"])
def test_a_copy_is_waited_for_however_far_it_is(tmp_path, libver, which):
    """Copies of full length, whose rest is zeros yet, and copies that grow; a disk's block at a time."""
    with h5py.File(tmp_path / "scan_1.h5", "w", libver=libver) as file:
        file.create_dataset("some/where/data", data=np.ones((3, 3, 2), "u4"), chunks=(1, 3, 2))
    write_virtual(tmp_path / "scan.nxs", 3, [(slice(0, 3), "scan_1.h5", "some/where/data", 3, slice(0, 3))])
    label(tmp_path / "scan.nxs")
    file = tmp_path / which
    whole = file.read_bytes()
    for end in range(0, len(whole), 512):
        for rest in (b"", bytes(len(whole) - end)):
            file.write_bytes(whole[:end] + rest)
            look(tmp_path)
    file.write_bytes(whole)
    assert look(tmp_path) == 3


@pytest.mark.parametrize("bytes_there", range(10))
def test_a_copy_that_ends_where_a_global_heap_begins_is_waited_for(tmp_path, bytes_there):
    """A virtual dataset's mapping stands in a global heap; further into one, HDF5 1.10 comes to no end."""
    write_frames(tmp_path / "scan_1.h5", 1, 3)
    write_virtual(tmp_path / "scan.nxs", 3, [(slice(0, 3), "scan_1.h5", "data", 3, slice(0, 3))])
    whole = (tmp_path / "scan.nxs").read_bytes()
    end = whole.index(b"GCOL") + bytes_there
    (tmp_path / "scan.nxs").write_bytes(whole[:end] + bytes(len(whole) - end))
    with pytest.raises(NotReady):
        MasterImages.of(f"{tmp_path}/scan.nxs")
    (tmp_path / "scan.nxs").write_bytes(whole)
    assert look(tmp_path) == 3


def label(master):
    """Make a NXmx master of it, of which DIALS would read axes and a wavelength."""
    groups = {
        "entry": "NXentry",
        "entry/data": "NXdata",
        "entry/instrument": "NXinstrument",
        "entry/instrument/beam": "NXbeam",
        "entry/instrument/detector": "NXdetector",
        "entry/sample": "NXsample",
    }
    with h5py.File(master, "r+") as file:
        for name, nx_class in groups.items():
            file.require_group(name).attrs["NX_class"] = np.bytes_(nx_class)
        file["entry/data"].attrs["signal"] = np.bytes_("data")
        file["entry/definition"] = np.bytes_("NXmx")
        file["entry/sample/depends_on"] = np.bytes_("omega")
        file["entry/sample/omega"] = np.arange(3)
        file["entry/sample/omega"].attrs["depends_on"] = np.bytes_(".")
        file["entry/instrument/detector/pixel_mask"] = np.zeros((3, 2))


def look(folder):
    """Return how many images are stored; 0 while a file isn't ready."""
    images = None
    try:
        images = MasterImages.of(f"{folder}/scan.nxs")
        require_metadata(f"{folder}/scan.nxs")
        return images.open(0)[1].count_stored(0, 3)
    except NotReady:
        return 0
    finally:
        if images:
            images.close()


@pytest.mark.parametrize("libver", ["earliest", "v110"])
def test_a_file_that_its_writer_has_open_is_not_ready(tmp_path, libver):
    with h5py.File(tmp_path / "scan.h5", "w", libver=libver) as writer:
        writer.flush()
        with pytest.raises(NotReady, match="is held by a writer"):
            open_file(f"{tmp_path}/scan.h5")
    open_file(f"{tmp_path}/scan.h5").close()


def test_files_are_read_where_there_are_no_locks(tmp_path, monkeypatch):
    """As with HDF5 on a file system whose lock daemon doesn't run."""
    write_frames(tmp_path / "scan.h5", 1, 2)

    def refuse(*args, **options):
        if options.get("locking") is not False:
            raise OSError(errno.ENOLCK, "Unable to open file (unable to lock file, errno = 37)")
        return h5py_file(*args, **options)

    def refuse_flock(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    h5py_file = h5py.File
    monkeypatch.setattr(h5py, "File", refuse)
    monkeypatch.setattr(opening.fcntl, "flock", refuse_flock)
    with open_file(f"{tmp_path}/scan.h5") as file:
        assert file["data"][1, 0, 0] == 2


def test_a_file_that_another_reader_has_open_is_read(tmp_path):
    """As dxtbx has, without SWMR, in this process."""
    write_frames(tmp_path / "scan.h5", 1, 2)
    with h5py.File(tmp_path / "scan.h5", "r"), open_file(f"{tmp_path}/scan.h5") as file:
        assert file["data"][1, 0, 0] == 2


@pytest.mark.parametrize("content", [b"", bytes(100), b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_an_old_file_is_not_in_the_making(tmp_path, content):
    (tmp_path / "scan.h5").write_bytes(content)
    age = time.time() - 2 * IN_THE_MAKING_S
    os.utime(tmp_path / "scan.h5", (age, age))
    with pytest.raises(UnusableMaster, match=r"can't be read .*; nothing has been written to it for 20 minutes"):
        open_file(f"{tmp_path}/scan.h5")


@pytest.mark.parametrize("libver", ["earliest", "v110"])
def test_nothing_is_locked_to_read(tmp_path, libver, monkeypatch):
    """Not for a moment: a detector that opens its file just then would fail."""
    write_frames(tmp_path / "scan.h5", 1, 2)
    asked = []
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    monkeypatch.setattr(opening.fcntl, "flock", lambda *args: asked.append(args))
    with open_file(f"{tmp_path}/scan.h5"):
        program = f"import h5py; h5py.File('{tmp_path}/scan.h5', 'r+').close()"
        subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"HDF5_USE_FILE_LOCKING": "TRUE"})
    assert not asked


def test_what_another_process_holds_is_known_without_a_lock(tmp_path):
    for name in ("scan.h5", "other.h5"):
        write_frames(tmp_path / name, 1, 2)
    program = f"import h5py, sys; f = h5py.File('{tmp_path}/scan.h5', 'r+'); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        assert is_held_by_writer(f"{tmp_path}/scan.h5")
        assert not is_held_by_writer(f"{tmp_path}/other.h5")
        writer.stdin.close()
    assert not is_held_by_writer(f"{tmp_path}/scan.h5")


def test_a_lock_that_a_file_system_knows_of_is_a_writers(tmp_path):
    """As NFS makes HDF5's locks known: as POSIX locks."""
    write_frames(tmp_path / "scan.h5", 1, 2)
    program = (
        f"import fcntl, sys; f = open('{tmp_path}/scan.h5', 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        assert is_held_by_writer(f"{tmp_path}/scan.h5")
        writer.stdin.close()


@pytest.mark.parametrize(
    ("number", "passes"),
    [(errno.ESTALE, True), (errno.EAGAIN, True), (errno.EIO, True), (errno.ENOLCK, True), (errno.EACCES, False)],
)
@pytest.mark.parametrize("kind", [OSError, KeyError, RuntimeError, ValueError])
def test_a_fault_of_the_file_system_is_known_through_what_wraps_it(tmp_path, number, passes, kind):
    write_frames(tmp_path / "scan.h5", 1, 2)
    words = os.strerror(number)
    error = kind(
        f"Unable to open file (file read failed: time = Sat\n, errno = {number}, error message = '{words}', buf)"
    )
    wrapped = RuntimeError("no format knows it")
    wrapped.__cause__ = error
    assert isinstance(not_ready_or_unusable(wrapped, f"{tmp_path}/scan.h5"), NotReady) == passes
    fault = not_ready_or_unusable(error, f"{tmp_path}/scan.h5")
    assert isinstance(fault, NotReady) == passes
    assert words in str(fault)
    assert "errno" not in str(fault)


def test_permission_is_denied_for_good(tmp_path):
    write_frames(tmp_path / "scan.h5", 1, 2)
    fault = not_ready_or_unusable(PermissionError(errno.EACCES, "Permission denied"), f"{tmp_path}/scan.h5")
    assert isinstance(fault, UnusableMaster)
