"""`plaza find` and `plaza last` when ISPyB isn't there: a line that says what to do, and never a password."""

import sqlite3
import sys

import pytest

from blocks.settings import get_settings
from flows.cli import main


@pytest.fixture
def plaza(tmp_path, monkeypatch, capsys):
    """Run the command line in this process; return exit code, standard output and error."""
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PLAZA_ISPYB_URL", raising=False)
    monkeypatch.setattr("blocks.site_ispyb.has_prefect_api", lambda: False)
    get_settings.cache_clear()

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plaza", *words])
        with pytest.raises(SystemExit) as exit_:
            main()
        output = capsys.readouterr()
        return exit_.value.code, output.out, output.err

    yield run
    get_settings.cache_clear()


@pytest.mark.parametrize("command", [("find", "5"), ("find", "5", "--json"), ("find", "-p", "5"), ("last", "i03")])
@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nonsense", "ISPyB's URL can't be used"),
        ("mysql://plaza:secret@host:port/ispyb", "ISPyB's URL can't be read; expected sqlite:///path or mysql"),
        ("mysql://plaza:secret@host:99999999/ispyb", "ISPyB at mysql+pymysql://plaza:***@host:99999999/ispyb can't"),
        ("oracle+nodriver://plaza:secret@host/ispyb", "ISPyB's URL can't be used"),
        (
            "mysql://plaza:secret@127.0.0.1:1/ispyb",
            "ISPyB at mysql+pymysql://plaza:***@127.0.0.1:1/ispyb can't be used",
        ),
        ("sqlite:////no/ispyb.sqlite", "there is no ISPyB at sqlite:////no/ispyb.sqlite: make it with"),
        ("sqlite://", "lacks a table"),
    ],
)
def test_ispyb_that_is_not_there_is_a_line(plaza, command, url, complaint):
    code, out, err = plaza(*command, "--ispyb", url)
    assert (code, out) == (1, "")
    assert complaint in err
    assert "secret" not in err
    warned = ["plaza: warning: for a moment"] if "secret" in url else []
    assert [line[:28] for line in err.splitlines()[:-1]] == warned


def test_default_ispyb_that_was_never_made_is_not_made_now(plaza, tmp_path):
    code, out, err = plaza("find", "5")
    assert (code, out) == (1, "")
    assert f"there is no ISPyB at sqlite:///{tmp_path}/home/ispyb.sqlite: make it with `plaza ispyb create`" in err
    assert not (tmp_path / "home").exists()


def test_file_that_is_no_database_is_a_line(plaza, tmp_path):
    (tmp_path / "x.sqlite").write_text("this is no database, but text" * 100)
    code, out, err = plaza("find", "5", "--ispyb", f"sqlite:///{tmp_path}/x.sqlite")
    assert (code, out) == (1, "")
    assert "refuses what it is asked: file is not a database" in err
    assert err.count("\n") == 1


def test_database_without_tables_says_how_to_make_them(plaza, tmp_path):
    sqlite3.connect(tmp_path / "x.sqlite").executescript("CREATE TABLE t (x); VACUUM")
    code, out, err = plaza("last", "i03", "--ispyb", f"sqlite:///{tmp_path}/x.sqlite")
    assert (code, out) == (1, "")
    assert "lacks a table" in err


@pytest.mark.parametrize("words", [("find",), ("find", "--json"), ("last",), ("last", "i03", "-n", "0")])
def test_too_little_or_too_much_is_a_usage_error(plaza, words):
    code, out, err = plaza(*words)
    assert (code, out) == (2, "")
    assert "Usage: " in err
