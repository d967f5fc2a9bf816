"""Where ISPyB is while the site that knows it is away."""

import socket
import stat
import time

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import saved_blocks, site_ispyb
from blocks.errors import DatabaseUnavailable
from blocks.ispyb_database import ISPyBDatabase
from blocks.settings import Settings
from blocks.site_ispyb import connect, connect_reader

FILE = "ispyb-last-known.json"
URL = "mysql+pymysql://plaza:s3cret@db.example/ispyb"


class Api:
    """Prefect's API, as a finder of blocks."""

    def __init__(self):
        self.block, self.is_away = None, False

    def find_block(self, *_, away, **__):
        if self.is_away:
            raise away("no answer")
        return self.block


@pytest.fixture
def api(monkeypatch):
    api = Api()
    monkeypatch.setattr(site_ispyb, "has_prefect_api", lambda: True)
    monkeypatch.setattr(saved_blocks, "find_block", api.find_block)
    return api


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))  # as clients of the home's site have it
    return Settings(home=tmp_path, ispyb_url=None)


def test_what_the_block_said_last_holds_while_the_site_is_away(api, settings, monkeypatch, caplog):
    api.block = ISPyBDatabase(url=URL)
    connect(settings)
    assert stat.S_IMODE((settings.home / FILE).stat().st_mode) == 0o600
    api.is_away = True
    engine = connect(settings, or_last_known=True)
    assert engine.url.render_as_string(hide_password=False).startswith(URL)
    assert "doesn't answer" in caplog.text
    assert "s3cret" not in caplog.text
    monkeypatch.setattr(site_ispyb, "has_prefect_api", lambda: False)  # it's down
    assert connect(settings, or_last_known=True).url.host == "db.example"


def test_runs_never_write_where_the_site_may_not_look(api, settings):
    api.block = ISPyBDatabase(url=URL)
    connect(settings)
    api.is_away = True
    for ask in (connect, connect_reader):
        with pytest.raises(DatabaseUnavailable):
            ask(settings)


@pytest.mark.parametrize("before", [[None], [URL, None], []])
def test_without_a_block_it_is_the_homes_own(api, settings, before, caplog):
    for url in before:
        api.block = url and ISPyBDatabase(url=url)
        connect(settings)
    api.is_away = True
    assert connect(settings, or_last_known=True).url.database == str(settings.home / "ispyb.sqlite")
    assert "ispyb.sqlite" in caplog.text
    assert not (settings.home / FILE).exists()


def test_the_block_of_another_api_says_nothing_of_this_home(api, settings, monkeypatch):
    monkeypatch.delenv("PREFECT_HOME")
    api.block = ISPyBDatabase(url=URL)
    connect(settings)
    assert not (settings.home / FILE).exists()
    api.is_away = True
    with pytest.raises(DatabaseUnavailable):
        connect(settings, or_last_known=True)


def test_what_is_spoilt_is_told_and_ignored(api, settings, caplog):
    (settings.home / FILE).write_text("{")
    api.is_away = True
    assert connect(settings, or_last_known=True).url.drivername == "sqlite"
    assert "can't be read" in caplog.text


def test_a_server_that_hangs_is_not_waited_for(settings, monkeypatch):
    monkeypatch.setattr(site_ispyb, "has_prefect_api", lambda: True)
    monkeypatch.setattr(site_ispyb, "_PATIENCE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        url = f"http://127.0.0.1:{hung.getsockname()[1]}/api"
        begun = time.monotonic()
        with temporary_settings({PREFECT_API_URL: url}):
            engine = connect(settings, or_last_known=True)
    assert engine.url.drivername == "sqlite"
    assert time.monotonic() - begun < 5
