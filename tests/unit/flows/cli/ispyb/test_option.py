"""Which ISPyB a command works with: that of its option, of the settings, or of the site that runs here."""

import os
import traceback

import pytest

from blocks.errors import ConfigurationError
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


SECRET = "mysql://crowfoot:s3cret@127.0.0.1:1/ispyb"


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "ispyb.url"
    file.write_text(f"  {SECRET}\nanything else\n")
    file.chmod(0o600)
    return file


def test_file_holds_the_url_in_its_first_line(file, capsys):
    engine = find_ispyb(str(file)).writing
    assert (engine.url.username, engine.url.password, engine.url.database) == ("crowfoot", "s3cret", "ispyb")
    assert capsys.readouterr().err == ""


def test_pipe_may_bring_the_url(capsys):
    reading, writing = os.pipe()
    os.write(writing, SECRET.encode())
    os.close(writing)
    assert find_ispyb(f"/dev/fd/{reading}").writing.url.password == "s3cret"
    os.close(reading)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_file_that_others_may_read_is_warned_of(file, mode, capsys):
    file.chmod(mode)
    find_ispyb(str(file))
    assert f"others may read {file}" in capsys.readouterr().err
    file.write_text("sqlite:////x.sqlite")
    find_ispyb(str(file))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("url", [SECRET, "mysql://127.0.0.1/x?user=u&password=s3cret"])
def test_password_on_the_command_line_is_warned_of(url, capsys):
    find_ispyb(url)
    told = capsys.readouterr().err
    assert "--ispyb FILE" in told
    assert len(told.splitlines()) == 1
    assert "s3cret" not in told


@pytest.mark.parametrize("url", ["sqlite:////tmp/a:b@c", "mysql://crowfoot@127.0.0.1:1/ispyb"])
def test_url_without_password_is_not(url, capsys):
    find_ispyb(url)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("given", ["crowfoot:s3cret@h/x", "mysql:/crowfoot:s3cret@h", "s3cret\0", "s3cret" * 100, "/"])
def test_what_is_neither_url_nor_file_is_not_shown(given):
    with pytest.raises(ConfigurationError, match="no URL, and no file") as caught:
        find_ispyb(given)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("content", [b"", b"s3cret\n", b"SQLite format 3\0\xff", b"\ns3cret", b"crowfoot:s3cret@h"])
def test_file_without_url_is_named_and_its_content_not_shown(file, content):
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="no URL of a database") as caught:
        find_ispyb(str(file))
    assert str(file) in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_fault_of_a_url_in_a_file_names_the_file(file):
    file.write_text("mysql://u:s3cret@x@h/ispyb")
    with pytest.raises(ConfigurationError, match=f"see {file}$") as caught:
        find_ispyb(str(file))
    assert "s3cret" not in str(caught.value)
