"""The Prefect profile that `plaza up` makes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib

import pytest

from flows.site.access.secret import make_secret
from flows.site.prefect_profile import ProfileNotWritten, forget_secret, profiles_file, write_profile
from flows.site.running_site import RunningSite

OTHERS = """
active = "{active}"
[profiles.work]
PREFECT_API_URL = "https://prefect.example/api"
PREFECT_API_KEY = "k\\"ey"
[profiles.plain]
PREFECT_LOGGING_LEVEL = "DEBUG"
"""


@pytest.fixture
def site(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    make_secret(home, {})
    return RunningSite(home, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tcp://127.0.0.1:8")


@pytest.fixture
def environment(tmp_path):
    return {"PREFECT_HOME": str(tmp_path / "prefect")}


def _read(environment):
    return tomllib.loads(profiles_file(environment).read_text())


def test_profile_is_made_and_active(site, environment):
    assert write_profile(site, environment) is None
    assert _read(environment) == {
        "active": "plaza",
        "profiles": {"plaza": {"PREFECT_API_URL": site.api_url, "PREFECT_API_AUTH_STRING": site.secret}},
    }
    assert stat.S_IMODE(profiles_file(environment).stat().st_mode) == 0o600
    assert [file.name for file in profiles_file(environment).parent.iterdir()] == ["profiles.toml"]


@pytest.mark.parametrize(
    ("active", "stays"), [("ephemeral", False), ("local", False), ("plain", False), ("work", True), ("cloud", True)]
)
def test_other_profiles_stay_and_so_does_a_choice_of_another_api(site, environment, active, stays):
    file = profiles_file(environment)
    file.parent.mkdir()
    file.write_text(OTHERS.format(active=active))
    before = _read(environment)
    hint = write_profile(site, environment)
    after = _read(environment)
    assert after["active"] == (active if stays else "plaza")
    assert ("prefect profile use plaza" in (hint or "")) == stays
    assert {name: after["profiles"][name] for name in ("work", "plain")} == before["profiles"]


def test_profile_follows_the_site_and_keeps_what_the_user_added(site, environment):
    write_profile(site, environment)
    file = profiles_file(environment)
    file.write_text(file.read_text() + 'PREFECT_LOGGING_LEVEL = "DEBUG"\n')
    moved = RunningSite(site.home, "http://127.0.0.1:10/api", "http://127.0.0.1:10", site.scheduler_address)
    assert write_profile(moved, environment) is None
    profile = _read(environment)["profiles"]["plaza"]
    assert profile["PREFECT_API_URL"] == moved.api_url
    assert profile["PREFECT_LOGGING_LEVEL"] == "DEBUG"


def test_file_that_is_right_is_left_alone(site, environment):
    write_profile(site, environment)
    file = profiles_file(environment)
    file.write_text("# mine\n" + file.read_text())
    write_profile(site, environment)
    assert file.read_text().startswith("# mine")


@pytest.mark.parametrize(
    ("variable", "value"), [("PREFECT_API_URL", "http://elsewhere/api"), ("PREFECT_PROFILE", "work")]
)
def test_what_the_shell_says_otherwise_is_told(site, environment, variable, value):
    assert variable in (write_profile(site, environment | {variable: value}) or "")


@pytest.mark.parametrize("content", ["active = ", "profiles = 3", '[profiles]\nplaza = "x"'])
def test_file_that_cannot_be_used_is_named_and_left(site, environment, content):
    file = profiles_file(environment)
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(ProfileNotWritten, match=str(file)):
        write_profile(site, environment)
    assert file.read_text() == content


def test_folder_that_cannot_be_made_is_named(site, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ProfileNotWritten, match="plaza prefect"):
        write_profile(site, {"PREFECT_PROFILES_PATH": str(tmp_path / "file" / "profiles.toml")})


def test_prefect_finds_it(site, tmp_path):
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    write_profile(site, {"PREFECT_HOME": str(tmp_path / ".prefect")})
    look = (
        "from prefect.settings import get_current_settings\n"
        "api = get_current_settings().api\n"
        "print(api.url, api.auth_string.get_secret_value())"
    )
    done = subprocess.run([sys.executable, "-c", look], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [site.api_url, site.secret], done.stderr


def test_secret_of_a_site_that_is_down_is_taken_out_and_put_back(site, environment):
    profiles_file(environment).parent.mkdir()
    profiles_file(environment).write_text(OTHERS.format(active="plain"))
    write_profile(site, environment)
    before = _read(environment)
    forget_secret(site.secret, environment)
    after = _read(environment)
    assert before["profiles"]["plaza"].pop("PREFECT_API_AUTH_STRING") == site.secret
    assert after == before
    write_profile(site, environment)
    assert _read(environment)["profiles"]["plaza"]["PREFECT_API_AUTH_STRING"] == site.secret


@pytest.mark.parametrize("secret", [None, "plaza:another site's"])
def test_secret_of_another_site_stays(site, environment, secret):
    write_profile(site, environment)
    before = _read(environment)
    forget_secret(secret, environment)
    assert _read(environment) == before


def test_nothing_is_to_forget_without_profiles(environment):
    forget_secret("plaza:x", environment)
    assert not profiles_file(environment).exists()


def test_secret_that_can_not_be_taken_out_is_said(environment):
    profiles_file(environment).parent.mkdir()
    profiles_file(environment).write_text("no TOML")
    with pytest.raises(ProfileNotWritten, match="it still has the site's secret"):
        forget_secret("plaza:x", environment)


def test_a_device_is_never_replaced_by_a_file(tmp_path):
    """PREFECT_PROFILES_PATH=/dev/null is how to have no profiles; a FIFO stands for it here."""
    device = tmp_path / "null"
    os.mkfifo(device)
    site = RunningSite(tmp_path, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tls://127.0.0.1:8")
    with pytest.raises(ProfileNotWritten, match="no plain file"):
        write_profile(site, {"PREFECT_PROFILES_PATH": str(device)})
    with pytest.raises(ProfileNotWritten, match="no plain file"):
        forget_secret("plaza:x", {"PREFECT_PROFILES_PATH": str(device)})
    assert device.is_fifo()
