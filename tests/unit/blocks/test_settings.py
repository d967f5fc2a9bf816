"""Settings from the environment."""

from pathlib import Path

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import get_settings


@pytest.fixture(autouse=True)
def read_anew():
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.parametrize(("variable", "value"), [("PLAZA_SERVER_PORT", "soon"), ("PLAZA_DASK_PORT", "70000")])
def test_a_setting_that_can_not_be_used_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=rf"{variable}: .*seen '{value}'"):
        get_settings()


@pytest.mark.parametrize("variable", ["PLAZA_CLOUD_GROUPS", "PLAZA_BEAMLINES", "PLAZA_VISIT_LINK_TARGETS"])
@pytest.mark.parametrize("value", ["[{", "i03", "[1,]", ""])
def test_a_setting_that_is_no_json_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        ConfigurationError, match=rf"^settings can't be used: {variable}: expected a list as JSON, seen .*: line 1 col"
    ):
        get_settings()


def test_folders_are_absolute_since_runs_work_in_others(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLAZA_HOME", "home")
    assert get_settings().home == Path.cwd() / "home"
