"""What unit tests of several packages use."""

import pytest

from blocks.settings import get_settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder that the settings name."""
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()
