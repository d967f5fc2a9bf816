"""supervisord's logs on a full disk."""

from __future__ import annotations

import errno
import io

import pytest
from supervisor import loggers

from flows.site.supervision import logs
from flows.site.supervision.logs import LastingLog


class Disk:
    """A disk that can be full."""

    def __init__(self, monkeypatch):
        self.is_full = False
        disk = self

        class File(io.FileIO):
            def write(self, data):
                if disk.is_full:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data)

        def open_(name):
            if disk.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return File(name, "ab")

        monkeypatch.setattr(logs, "_open", open_)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "service.log"


@pytest.fixture
def log(disk, file):
    handler = LastingLog(str(file), "a", 100, 2)
    handler.setFormat("%(message)s")
    yield handler
    handler.close()


def emit(log, text):
    log.emit(loggers.LogRecord(loggers.LevelsByName.INFO, text))


def test_lines_come_after_one_another(log, file):
    emit(log, b"one\n")
    emit(log, "two\n")
    assert file.read_bytes() == b"one\ntwo\n"


def test_a_full_disk_is_survived_and_the_loss_is_told_when_there_is_room(log, disk, file):
    emit(log, b"before\n")
    disk.is_full = True
    emit(log, b"lost\n")
    emit(log, b"lost, too\n")
    disk.is_full = False
    emit(log, b"after\n")
    assert file.read_bytes() == b"before\n\n(15 bytes are missing here: the log couldn't be written)\nafter\n"


def test_supervisord_does_not_complain_of_a_socket_that_is_closed_to_others(log, file):
    alarm = "Server 'unix_http_server' running without any HTTP authentication checking\n"
    log.emit(loggers.LogRecord(loggers.LevelsByName.CRIT, alarm))
    log.emit(loggers.LogRecord(loggers.LevelsByName.CRIT, "something else\n"))
    assert file.read_text() == "something else\n"


def test_a_log_of_its_size_is_put_aside(log, file):
    for number in range(4):
        emit(log, f"{number}".encode() * 100)
    assert file.read_bytes() == b""
    assert file.with_name("service.log.1").read_bytes() == b"3" * 100
    assert file.with_name("service.log.2").read_bytes() == b"2" * 100
    assert len(list(file.parent.iterdir())) == 3


def test_without_room_for_another_file_the_old_ones_stay(log, disk, file):
    emit(log, b"1" * 100)
    emit(log, b"2" * 99)
    disk.is_full = True
    emit(log, b"x")
    assert file.with_name("service.log.1").read_bytes() == b"1" * 100
    assert file.read_bytes() == b"2" * 99
    disk.is_full = False
    emit(log, b"3")
    assert file.read_bytes() == b""
    assert file.with_name("service.log.2").read_bytes() == b"1" * 100


def test_reopening_on_a_full_disk_keeps_what_is_open(log, disk, file):
    disk.is_full = True
    log.reopen()
    disk.is_full = False
    emit(log, b"still\n")
    assert file.read_bytes() == b"still\n"


def test_standard_error_on_a_full_disk_raises_nothing():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        stream = logs._lossy(full.fileno())
        stream.write("Traceback\n" * 10000)
        stream.flush()
