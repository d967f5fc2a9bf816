"""On a network file system, a name that wasn't there is asked for again when its folder has been opened."""

import errno
import os
import pathlib

import pytest

from tasks import fresh_folders
from tasks.fresh_folders import FreshFolders, is_there
from tests.support.name_cache import NameCache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return NameCache(tmp_path, monkeypatch)


def test_a_file_is_seen_though_its_absence_is_remembered(cache, tmp_path):
    file = tmp_path / "x.cbf"
    assert not file.exists()
    file.touch()
    assert not file.exists(), "the cache is one"
    assert is_there(str(file))


def test_folders_that_are_not_seen_are_asked_for_from_the_top(cache, tmp_path):
    file = tmp_path / "run" / "1" / "x.cbf"
    assert not is_there(str(file))
    file.parent.mkdir(parents=True)
    file.touch()
    assert not file.exists()
    assert is_there(str(file))


def test_each_folder_is_opened_now_and_then_only(cache, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(fresh_folders.time, "monotonic", lambda: now[0])
    folders = FreshFolders()
    (tmp_path / "other").mkdir()
    assert folders.ask_again(f"{tmp_path}/a")
    assert not folders.ask_again(f"{tmp_path}/b")
    assert folders.ask_again(f"{tmp_path}/other/a")
    now[0] += fresh_folders.SHORTEST_INTERVAL_S
    assert folders.ask_again(f"{tmp_path}/b")


def test_a_slow_file_system_is_asked_less_often(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(fresh_folders.time, "monotonic", lambda: now[0])

    def open_slowly(path):
        now[0] += 0.5

    monkeypatch.setattr(fresh_folders, "open_folder_of", open_slowly)
    folders = FreshFolders()
    assert folders.ask_again(f"{tmp_path}/a")
    now[0] += 4.9
    assert not folders.ask_again(f"{tmp_path}/a")
    now[0] += 0.2
    assert folders.ask_again(f"{tmp_path}/a")


@pytest.mark.parametrize("path", ["x.cbf", "", "/", "nul\0/x", "n" * 300 + "/x", "/no/such/folder/x"])
def test_odd_paths_are_not_there(path):
    assert is_there(path) is (path in ("/", ""))  # the current folder is


def test_a_folder_that_may_not_be_read_is_no_fault(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert not is_there(str(tmp_path / "x"))
    assert pathlib.Path(tmp_path).exists()
