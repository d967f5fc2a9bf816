"""What other accounts of the machine can do with a site: nothing, or look and resume if they are of its group."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from flows.site.access.secret import authorization
from flows.site.api_server.database import database_socket_folder
from flows.site.prefect_profile import write_profile
from flows.site.running_site import socket_folder
from tests.support.commanded_site import CommandedSite, await_, site_of_recipes

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
OTHER = "nobody"
GROUP = "users"
NO_TRACE = {"PYTHONDONTWRITEBYTECODE": "1", "PREFECT_LOGGING_LEVEL": "ERROR"}


def _run_as_other(
    command: list[str], groups: list[int], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    other = pwd.getpwnam(OTHER)
    return subprocess.run(
        command,
        user=other.pw_uid,
        group=other.pw_gid,
        extra_groups=groups,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **NO_TRACE, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module", autouse=True)
def another_account() -> None:
    """Skip unless there is another account that can run Plaza."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if GROUP not in {group.gr_name for group in grp.getgrall()}:
        pytest.skip(f"there is no group {GROUP}")
    if _run_as_other([sys.executable, "-c", "import flows, httpx"], [], {}).returncode != 0:
        pytest.skip(f"{OTHER} can't read this checkout or its Python")


class SharedSite(CommandedSite):
    """A site with a group."""

    def as_other(self, *command: str, in_group: bool, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module as the other user."""
        groups = [grp.getgrnam(GROUP).gr_gid] if in_group else []
        environment |= {"PLAZA_HOME": str(self.settings.home), "HOME": environment.get("HOME", "/nonexistent")}
        return _run_as_other([sys.executable, *command], groups, environment)

    def plaza_as_other(self, *words: str, in_group: bool) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line as the other user."""
        return self.as_other("-c", "from flows.cli import main; main()", *words, in_group=in_group)


@pytest.fixture(scope="module")
def site(another_account: None) -> Iterator[SharedSite]:
    recipe: dict[str, Any] = {
        "1": {"queue": "trial.effect", "parameters": {"folder": "{folder}", "name": "one"}},
        "start": [[1, "{what}"]],
    }
    # not in pytest's folder: each session of pytest closes it to others
    with TemporaryDirectory(prefix="plaza-shared-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with site_of_recipes(SharedSite, folder, {"effect": recipe}, group=GROUP) as site:
            yield site


@pytest.fixture(scope="module")
def failed_run(site: SharedSite, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that refused its message."""
    run = site.start("effect", folder=str(tmp_path_factory.mktemp("effects")), what="poison")
    await_(lambda: site.history(run)["state"].startswith("Failed"), timeout_s=240)
    return run


def test_another_account_gets_nothing(site: SharedSite) -> None:
    home = site.settings.home
    sockets = (database_socket_folder(home) / ".s.PGSQL.5432", socket_folder(home) / "supervisor.sock")
    assert all(each.is_socket() for each in sockets)
    done = site.as_other(
        "-m", "tests.support.other_user", str(home), site.site.api_url, *map(str, sockets), in_group=False
    )
    assert done.returncode == 0, done.stderr
    refused = dict.fromkeys(("version", "runs", "start", "guess"), 401)
    assert json.loads(done.stdout) == {
        "readable": [],
        "connected": [],
        "answers": {**refused, "other name": 421, "health": 200},
    }


def test_the_secret_is_in_no_command_line_and_no_file_but_its_own(site: SharedSite) -> None:
    secret = site.site.secret
    assert secret
    lines = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]  # noqa: PTH208
    assert not [line for line in lines if line.exists() and secret.encode() in line.read_bytes()]
    files = [file for file in site.settings.home.rglob("*") if file.is_file() and "postgres" not in file.parts]
    assert [file.name for file in files if secret.encode() in file.read_bytes()] == ["api-secret"]


def test_a_stranger_is_told_why_in_one_line(site: SharedSite, failed_run: str) -> None:
    for words in (("status",), ("show", failed_run), ("resume", failed_run)):
        done = site.plaza_as_other(*words, in_group=False)
        assert done.returncode == 1, words
        assert "PLAZA_GROUP" in done.stderr.splitlines()[-1], words
        assert "Traceback" not in done.stderr, words


def test_a_second_operator_can_look_and_resume(site: SharedSite, failed_run: str) -> None:
    for words, seen in (
        (("status",), "heard of"),
        (("show", failed_run), "poison"),
        (("logs", failed_run), "begins with poison"),
        (("event", "list"), "No event and no request waits"),
    ):
        done = site.plaza_as_other(*words, in_group=True)
        assert done.returncode == 0, (words, done.stderr)
        assert seen in done.stdout, words
    attempts = len(site.history(failed_run)["attempts"])
    done = site.plaza_as_other("resume", failed_run, "--wait", "--timeout", "120", in_group=True)
    assert "goes on" in done.stdout, done.stderr
    assert "Failed" in done.stdout, done.stderr  # its message is as bad as before
    assert "Traceback" not in done.stderr
    history = site.history(failed_run)
    assert len(history["attempts"]) == attempts + 1
    assert history["attempts"][-1]["ended"] is not None


def test_a_beamlines_host_starts_a_run_with_curl(site: SharedSite, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl isn't installed")
    config = tmp_path / "plaza.curl"
    config.write_text(f'header = "Authorization: {authorization(site.site.secret or "")}"\n')

    def curl(path: str, *options: str) -> Any:
        command = ["curl", "-sSf", "--noproxy", "*", "--config", str(config), *options, f"{site.site.api_url}/{path}"]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    deployment = curl("deployments/name/effect/live")["id"]
    parameters = {"parameters": {"parameters": {"folder": str(tmp_path), "what": "it"}}}
    run = curl(f"deployments/{deployment}/create_flow_run", "--json", json.dumps(parameters))["id"]
    await_(lambda: curl(f"flow_runs/{run}")["state"]["name"] == "Completed", timeout_s=240)


def test_plain_prefect_works_by_the_profile(site: SharedSite, tmp_path: Path) -> None:
    own = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    assert write_profile(site.site, {"PREFECT_HOME": str(tmp_path / ".prefect")}) is None
    program = str(Path(sys.executable).with_name("prefect"))
    done = subprocess.run(
        [program, "deployment", "inspect", "mimas/end"], env=own, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "mimas" in done.stdout


def test_what_a_second_operator_cannot_do_is_a_line(site: SharedSite, failed_run: str) -> None:
    for words in (("resume", failed_run, "--from", "1"), ("down",)):
        done = site.plaza_as_other(*words, in_group=True)
        assert done.returncode == 1, words
        assert done.stderr.splitlines()[-1].startswith("plaza: "), done.stderr
        assert "Traceback" not in done.stderr, words
    assert site.plaza("status").returncode == 0
