"""Who may read the home folder."""

from __future__ import annotations

import grp
import logging
import os
import stat

import pytest

from blocks.errors import ConfigurationError
from blocks.home_folder import TAKING_UP_LOCK, make_folder
from blocks.settings import Settings, get_settings
from flows.site.access.home_folder import close_home, group_of, is_ours
from flows.site.running_site import socket_folder

OWN_GROUP = grp.getgrgid(os.getegid()).gr_name


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "above" / "home"


def test_new_home_is_closed_and_nothing_else(home, caplog):
    close_home(Settings(home=home))
    assert mode(home) & 0o007 == 0
    assert not mode(home) & stat.S_IRGRP
    assert mode(home.parent) == 0o777 & ~_umask()
    assert group_of(home) is None
    assert caplog.records == []


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_open_home_is_closed_with_a_line_once(home, caplog):
    home.mkdir(parents=True)
    home.chmod(0o755)
    with caplog.at_level(logging.WARNING):
        close_home(Settings(home=home))
        close_home(Settings(home=home))
    assert mode(home) & 0o007 == 0
    assert len(caplog.records) == 1
    assert str(home) in caplog.text


def test_group_may_look_and_what_is_made_in_the_home_is_the_groups(home):
    close_home(Settings(home=home, group=OWN_GROUP))
    assert mode(home) == 0o2750
    assert group_of(home) == os.getegid()
    close_home(Settings(home=home))
    assert group_of(home) is None, "the setting is taken back"


def test_what_was_made_before_the_group_is_its_too(home, monkeypatch):
    monkeypatch.setattr(os, "chown", lambda *args, **options: owned.append(args[0]) or None)
    owned: list[object] = []
    close_home(Settings(home=home))
    for folder in ("recipe-runs/a", "events", "dask-tls"):
        (home / folder).mkdir(parents=True)
    (home / "events").chmod(0o700)
    (home / "recipe-runs").chmod(0o700)
    (home / "recipe-runs" / "a").chmod(0o700)
    (home / "recipe-runs" / "a" / "journal.jsonl").touch(mode=0o640)
    (home / "dask-tls").chmod(0o700)
    (home / "recipe-runs" / "elsewhere").symlink_to("/")
    close_home(Settings(home=home, group=OWN_GROUP))
    assert mode(home / "events") == 0o2770, "its members may tell of events"
    assert mode(home / "recipe-runs") == 0o2750
    assert mode(home / "recipe-runs" / "a") == 0o2700, (
        "what its maker closed stays closed; what is made there is the group's"
    )
    assert mode(home / "dask-tls") == 0o700
    assert mode(home / TAKING_UP_LOCK) & stat.S_IRGRP
    assert {"journal.jsonl"} <= {each for each in owned if isinstance(each, str)} <= {"journal.jsonl", "elsewhere"}
    owned.clear()
    close_home(Settings(home=home, group=OWN_GROUP))
    assert "journal.jsonl" not in owned, "what is done isn't done again"


def test_group_that_is_not_there_is_an_error_that_names_the_setting(home):
    with pytest.raises(ConfigurationError, match=r"PLAZA_GROUP.*'no-such-group'"):
        close_home(Settings(home=home, group="no-such-group"))


def test_folder_of_everybody_is_not_closed(home):
    home.mkdir(parents=True)
    home.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="everybody"):
        close_home(Settings(home=home))
    assert mode(home) == 0o1777


def test_file_in_the_homes_place_is_an_error(home):
    home.parent.mkdir()
    home.touch()
    with pytest.raises(ConfigurationError, match="PLAZA_HOME"):
        close_home(Settings(home=home))


def test_whatever_makes_the_home_makes_it_closed(home, monkeypatch):
    monkeypatch.setenv("PLAZA_HOME", str(home))
    get_settings.cache_clear()
    make_folder(home / "mail" / "kept")
    get_settings.cache_clear()
    assert mode(home) == 0o700
    assert mode(home / "mail" / "kept") == 0o777 & ~_umask(), "what is in it keeps its modes"


def test_home_that_is_to_be_made_is_ours(home):
    assert is_ours(home)


def test_sockets_of_a_long_home_are_as_closed_as_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    home = tmp_path / ("long" * 25)
    close_home(Settings(home=home))
    folder = socket_folder(home)
    assert folder.parent == tmp_path
    assert mode(folder) == mode(home)
    close_home(Settings(home=home, group=OWN_GROUP))
    assert socket_folder(home) == folder
    assert (mode(folder), folder.stat().st_gid) == (0o2750, os.getegid())
