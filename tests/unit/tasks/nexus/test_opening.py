"""A file in the making is waited for; one that will never do isn't."""

import errno

import h5py
import numpy as np
import pytest

from tasks.nexus import opening
from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.opening import open_file
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


def look(folder):
    """Return how many images are stored; 0 while a file isn't ready."""
    images = None
    try:
        images = MasterImages.of(f"{folder}/scan.nxs")
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
