"""Settings for Prefect in the current folder that another user has written."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from blocks.errors import ConfigurationError
from flows.cli.main import app
from flows.site.access import settings_files
from flows.site.access.settings_files import refuse_settings_of_others

LOGGING = "PREFECT_LOGGING_SETTINGS_PATH=/tmp/any-code.yml\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file of the current folder, as another user."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).write_text(text)
        if os.geteuid() == 0:
            os.chown(tmp_path / name, 65534, 65534)
        else:
            monkeypatch.setattr(settings_files.os, "geteuid", lambda: 65534)

    return write


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", LOGGING),
        (".env", f"export {LOGGING.lower()}"),
        ("prefect.toml", "[logging]\nsettings_path = 'x'\n"),
        ("pyproject.toml", "[tool.prefect.logging]\nsettings_path = 'x'\n"),
        ("pyproject.toml", "no TOML"),
    ],
)
def test_what_prefect_would_read_is_refused_by_any_command(write, name, text):
    write(name, text)
    with pytest.raises(ConfigurationError, match=f"{name} in the current folder is another user's"):
        refuse_settings_of_others()
    assert isinstance(CliRunner().invoke(app, ["status"]).exception, ConfigurationError)


@pytest.mark.parametrize(
    ("name", "text"), [(".env", "COLOUR=blue\n"), ("pyproject.toml", "[project]\ndependencies = ['prefect']\n")]
)
def test_what_says_nothing_to_prefect_is_none_of_its_business(write, name, text):
    write(name, text)
    refuse_settings_of_others()


def test_the_users_own_settings_are_theirs_to_make(tmp_path):
    (tmp_path / ".env").write_text(LOGGING)
    refuse_settings_of_others(tmp_path)
