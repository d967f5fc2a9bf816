"""Pipes, devices and folders hold up and fill nobody who opens a file."""

import os
import socket
import time
from pathlib import Path

import pytest

from tasks.regular_files import NotRegular, open_regular, read_regular, unfit_kind


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


KINDS = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "made up by the kernel": lambda path: path.symlink_to("/proc/self/mem"),
}


@pytest.mark.parametrize(("kind", "make"), KINDS.items(), ids=KINDS)
def test_what_is_no_file_is_refused_at_once(tmp_path, kind, make):
    begin = time.monotonic()
    make(tmp_path / "x")
    assert kind in (unfit_kind(str(tmp_path / "x")) or "")
    with pytest.raises(OSError, match=f"{kind}|No such device"):  # a socket can't be opened at all
        open_regular(tmp_path / "x")
    assert time.monotonic() - begin < 5


def test_so_much_of_a_file_is_read(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "link", 3) == b"123"
    assert unfit_kind(str(tmp_path / "x")) is unfit_kind(str(tmp_path / "none")) is unfit_kind("a\0b") is None


def test_no_descriptor_is_left_open(tmp_path):
    os.mkfifo(tmp_path / "x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(NotRegular):
            open_regular(tmp_path / "x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
