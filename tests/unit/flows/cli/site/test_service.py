"""`plaza up`, but for what it starts."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from blocks.settings import get_settings
from flows.cli.main import app
from flows.site.access.secret import make_secret
from flows.site.foreground import SupervisorDied
from flows.site.running_site import RunningSite


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site of which nothing but the addresses is there."""
    site = RunningSite(tmp_path, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tcp://127.0.0.1:9")
    monkeypatch.setattr("flows.site.services.up", lambda settings, wait: site)
    monkeypatch.setattr("flows.site.running_site.one_certificate", lambda home: home / "certificate.pem")
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PLAZA_ISPYB_URL", f"sqlite:///{tmp_path}/ispyb.sqlite")
    get_settings.cache_clear()
    yield site
    get_settings.cache_clear()


def test_up_tells_what_ispyb_lacks_but_the_site_is_up(site):
    done = CliRunner().invoke(app, ["up", "--no-resume"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"Plaza is up. UI: {site.ui_url}")
    assert "make it with `plaza ispyb create`" in done.stderr


def test_up_prints_a_link_for_browsers_and_makes_a_prefect_profile(site):
    make_secret(site.home, {})
    done = CliRunner().invoke(app, ["up", "--no-resume"])
    assert f"\nUI in a browser: {site.ui_url}/login?token=" in done.stdout
    assert site.secret not in done.output
    assert site.secret in (site.home / "prefect" / "profiles.toml").read_text()


def _died():
    raise SupervisorDied("killed")


@pytest.mark.parametrize(
    ("words", "stays"),
    [
        (["down"], None),
        (["up", "--no-wait", "--foreground"], lambda: None),
        (["up", "--no-wait", "--foreground"], _died),
    ],
)
def test_no_profile_has_the_secret_when_the_site_is_down(site, monkeypatch, words, stays):
    make_secret(site.home, {})
    CliRunner().invoke(app, ["up", "--no-wait"])
    monkeypatch.setattr("flows.site.services.down", lambda: True)
    monkeypatch.setattr("flows.site.foreground.stay", stays)
    CliRunner().invoke(app, words)
    text = (site.home / "prefect" / "profiles.toml").read_text()
    assert site.api_url in text
    assert site.secret not in text


def test_link_is_kept_out_of_systemds_journal(site, monkeypatch):
    output = os.fstat(sys.__stdout__.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{output.st_dev}:{output.st_ino}")
    assert "token" not in CliRunner().invoke(app, ["up", "--no-resume"]).stdout


def test_profile_that_cannot_be_written_is_a_line(site, monkeypatch):
    monkeypatch.setenv("PREFECT_PROFILES_PATH", "/dev/null/profiles.toml")
    done = CliRunner().invoke(app, ["up", "--no-resume"])
    assert done.exit_code == 0
    assert "/dev/null/profiles.toml" in done.stderr


def test_up_says_nothing_of_ispyb_that_has_all(site):
    assert CliRunner().invoke(app, ["ispyb", "create"]).exit_code == 0
    done = CliRunner().invoke(app, ["up", "--no-resume"])
    assert done.exit_code == 0, done.output
    assert done.stderr == "Starting the site …\n"


@pytest.fixture
def prefect_starts(site, monkeypatch):
    """Have the site answer in turns; note what Prefect's command line is started with."""
    site.write()
    started = []
    monkeypatch.setattr("os.execve", lambda path, arguments, environment: started.append(arguments))

    def starts(*answers, supervised):
        left = list(answers)
        monkeypatch.setattr("flows.site.api_client.ask_api", lambda *_, **__: left.pop(0) if len(left) > 1 else left[0])
        monkeypatch.setattr("flows.site.supervision.Supervisor.is_alive", lambda _: supervised)
        done = CliRunner().invoke(app, ["prefect", "deployment", "run", "mimas/end", "--param", "dcid=1"])
        assert started == [["prefect", "deployment", "run", "mimas/end", "--param", "dcid=1"]]
        return done.stderr

    return starts


def test_prefects_command_line_waits_for_a_server_that_is_started_again(prefect_starts):
    said = prefect_starts(None, None, {"message": "OK"}, supervised=True)
    assert said == "Prefect's server doesn't answer; waiting for it, 60 s at most …\n"


def test_it_does_not_wait_where_nobody_starts_a_server(prefect_starts):
    assert prefect_starts(None, supervised=False).startswith("Prefect's server doesn't answer. Events of data")


def test_it_says_nothing_while_the_server_answers(prefect_starts):
    assert prefect_starts({"message": "OK"}, supervised=True) == ""


@pytest.fixture
def commands_print(monkeypatch):
    """Have the commands that `plaza up` runs print a text and end with a status."""

    def commands_print(text, status=0):
        program = f"print({text!r}); raise SystemExit({status})"
        monkeypatch.setattr(
            "flows.cli.site.service._command",
            lambda site, *words: subprocess.Popen(
                [sys.executable, "-c", program if words[0] == "resume" else ""], stdout=subprocess.PIPE, text=True
            ),
        )

    return commands_print


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (
            "a (archive) is taken up\nb (mimas) is taken up\n2 interrupted runs are taken up",
            "2 interrupted runs are taken up\n",
        ),
        ("no interrupted run waits to be taken up", ""),
    ],
)
@pytest.mark.usefixtures("site")
def test_up_tells_in_a_line_what_it_takes_up(commands_print, printed, told):
    commands_print(printed)
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == 0, done.output
    *_, last = done.stdout.partition("UI in a browser")[2].split("\n", maxsplit=1)
    assert last == told


@pytest.mark.usefixtures("site")
def test_a_site_is_up_though_nothing_can_be_taken_up(commands_print):
    commands_print("plaza: Prefect's API doesn't answer", 1)
    done = CliRunner().invoke(app, ["up"])
    assert done.exit_code == 0, done.output
    assert "can't be taken up: plaza: Prefect's API doesn't answer" in done.stderr


def test_seconds_are_for_a_drain_only():
    done = CliRunner().invoke(app, ["down", "60"])
    assert done.exit_code == 2
    assert "plaza down --drain 60" in done.output


@pytest.mark.parametrize(("words", "seconds"), [(["--drain"], 3600), (["--drain", "60"], 60), (["60", "--drain"], 60)])
@pytest.mark.usefixtures("site")
def test_down_drains_for_so_long(monkeypatch, words, seconds):
    asked = []
    monkeypatch.setattr("flows.cli.site.service._drain", asked.append)
    monkeypatch.setattr("flows.site.services.down", lambda: True)
    done = CliRunner().invoke(app, ["down", *words])
    assert (done.exit_code, done.stdout, asked) == (0, "Plaza is down.\n", [seconds])


@pytest.mark.parametrize(
    ("count", "told"), [(0, ""), (None, ""), (1, "1 run was under way"), (3, "3 runs were under way")]
)
def test_down_says_what_the_next_up_will_take_up(site, monkeypatch, count, told):
    site.write()
    monkeypatch.setattr("flows.site.api_client.ask_api", lambda site, path, body: count)
    monkeypatch.setattr("flows.site.services.down", lambda: True)
    done = CliRunner().invoke(app, ["down"])
    after = f"{told}: the next `plaza up` takes up what is left to do\n" if told else ""
    assert done.stdout == f"Plaza is down.\n{after}"


@pytest.mark.parametrize(
    "content", ["", "{", None], ids=["empty", "spoilt", "whole, but of a site that doesn't answer"]
)
@pytest.mark.parametrize("words", [("down",), ("down", "--drain", "1")])
def test_down_goes_through_whatever_cannot_be_read_or_asked(site, monkeypatch, content, words):
    site.write()
    if content is not None:
        site.file.write_text(content)
    monkeypatch.setattr("flows.site.services.down", lambda: True)
    monkeypatch.setattr("flows.cli.site.service.asyncio.run", refuse)
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (0, "Plaza is down.\n")
    assert ("aren't waited for" in done.stderr) == ("--drain" in words)


def refuse(drain):
    drain.close()
    raise TimeoutError("timed out")
