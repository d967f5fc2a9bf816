"""Who may have runs start once more."""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from blocks.home_folder import TAKING_UP_LOCK
from blocks.settings import get_settings
from flows.rescheduling import _open_lock
from flows.site.interrupted_runs import has_process

RUN = "0b1c2d3e-0000-4000-8000-000000000001"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another user's home, in which this one may look."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with TemporaryDirectory() as name:  # not in pytest's folder: it's closed to others
        home = Path(name)
        home.chmod(0o755)
        (home / TAKING_UP_LOCK).parent.mkdir()
        monkeypatch.setenv("PLAZA_HOME", name)
        get_settings.cache_clear()
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            yield home
        finally:
            os.seteuid(0)
            get_settings.cache_clear()


def test_who_may_only_look_waits_for_others_who_take_up_runs(home):
    os.seteuid(0)
    with _open_lock() as theirs:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with _open_lock() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_where_nobody_has_made_the_lock_it_is_said_whose_the_home_is(home):
    with pytest.raises(PermissionError):  # the command line makes a line of it
        _open_lock()


def test_who_sees_no_process_of_the_site_knows_of_none(home):
    assert has_process(RUN) is None
    os.seteuid(0)
    assert has_process(RUN) is False
