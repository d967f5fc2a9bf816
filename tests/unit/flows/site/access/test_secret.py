"""The site's secret."""

from __future__ import annotations

import grp
import os
import stat
import subprocess

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import CHECKOUT, Settings
from flows.site.access.home_folder import close_home
from flows.site.access.secret import authorization, derived_token, login_link, make_secret, read_secret, secret_file


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    close_home(Settings(home=home))
    return home


def test_secret_is_made_once_and_for_its_user_only(home):
    assert read_secret(home) is None
    secret = make_secret(home, {})
    assert secret.startswith("plaza:")
    assert len(secret) > 40
    assert make_secret(home, {}) == secret == read_secret(home)
    assert stat.S_IMODE(secret_file(home).stat().st_mode) == 0o600


def test_two_homes_have_two_secrets(home, tmp_path):
    assert make_secret(home, {}) != make_secret(tmp_path, {})


def test_prefects_own_setting_for_servers_is_the_secret(home):
    made = make_secret(home, {})
    assert make_secret(home, {"PREFECT_SERVER_API_AUTH_STRING": "ops:pass"}) == "ops:pass" == read_secret(home)
    assert make_secret(home, {"PREFECT_API_AUTH_STRING": made}) == "ops:pass", "that is another server's"


def test_secret_that_no_header_can_hold_is_refused_unseen(home):
    with pytest.raises(ConfigurationError, match="PREFECT_SERVER_API_AUTH_STRING") as refused:
        make_secret(home, {"PREFECT_SERVER_API_AUTH_STRING": "ops:a\r\nHost: x"})
    assert "ops" not in str(refused.value)


def test_group_of_the_home_may_read_the_secret(tmp_path):
    group = grp.getgrgid(os.getegid()).gr_name
    close_home(Settings(home=tmp_path, group=group))
    make_secret(tmp_path, {})
    found = secret_file(tmp_path).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, os.getegid())


@pytest.mark.parametrize("secret", ["plaza:s3cret", r'ops:a"b\\c$d`e', "ops:Grüße %s", "without-a-colon", "a" * 300])
def test_documented_command_puts_any_secret_into_a_file_for_curl(home, secret):
    make_secret(home, {"PREFECT_SERVER_API_AUTH_STRING": secret})
    page = (CHECKOUT / "docs" / "how-to" / "other-users-and-hosts.md").read_text()
    (command,) = (line for line in page.splitlines() if line.startswith("(umask 077;"))
    subprocess.run(
        ["sh", "-c", command], cwd=home, env={"PLAZA_HOME": str(home), "PATH": os.environ["PATH"]}, check=True
    )
    assert (home / "plaza.curl").read_text() == f'header = "Authorization: {authorization(secret)}"\n'
    assert stat.S_IMODE((home / "plaza.curl").stat().st_mode) == 0o600


def test_link_and_header_are_made_of_the_secret_but_only_the_header_tells_it():
    assert authorization("plaza:s3cret") == "Basic cGxhemE6czNjcmV0"
    link = login_link("http://127.0.0.1:4200", "plaza:s3cret")
    assert link.startswith("http://127.0.0.1:4200/login?token=")
    assert "s3cret" not in link
    assert derived_token("a", "link") != derived_token("a", "cookie") != derived_token("b", "cookie")
