"""Which ISPyB a command works with: that of its option, of the settings, or of the site that runs here."""

import pytest

from blocks.settings import Settings
from flows.cli.ispyb.option import find_ispyb
from flows.site.running_site import site_file

NAMED = "sqlite:////named.sqlite"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return which sites were asked; `url` says which ISPyB the settings name."""

    def find(option=None, *, url=None, runs=True):
        asked = []
        settings = Settings(home=tmp_path, ispyb_url=url)
        site_file(tmp_path).touch() if runs else site_file(tmp_path).unlink(missing_ok=True)
        monkeypatch.setattr("blocks.settings.get_settings", lambda: settings)
        monkeypatch.setattr("flows.site.running_site.use_running_site", asked.append)
        find_ispyb(option)
        return [settings.home for settings in asked]

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("blocks.site_ispyb.has_prefect_api", lambda: False)
    return find


def test_a_running_site_is_asked_since_a_block_may_name_its_ispyb(asked, tmp_path):
    assert asked() == [tmp_path]


@pytest.mark.parametrize(
    ("option", "of_settings", "runs"), [(NAMED, None, True), (None, NAMED, True), (None, None, False)]
)
def test_nobody_is_asked_if_it_is_named_or_no_site_runs(asked, option, of_settings, runs):
    assert asked(option, url=of_settings, runs=runs) == []


def test_another_prefect_that_is_named_is_asked_instead(asked, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    assert asked() == []
