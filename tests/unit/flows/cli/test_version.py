"""`plaza --version` names the commit of the checkout that runs."""

from __future__ import annotations

import subprocess
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from blocks.settings import CHECKOUT
from flows.cli.main import app
from flows.cli.version import commit_of


def git(folder, *words):
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    done = subprocess.run(["git", *identity, "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Have a repository with a commit and a tag."""
    monkeypatch.delenv("GIT_DIR", raising=False)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "plaza").write_text("#!/bin/sh")
    git(tmp_path, "add", "plaza")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def test_version_and_commit_are_printed():
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.stdout) == (0, f"plaza {version('plaza')}, {commit_of(CHECKOUT)}\n")


def test_commit_is_that_of_the_checkout(checkout):
    commit = git(checkout, "rev-parse", "--short", "HEAD")
    assert commit_of(checkout) == f"commit {commit}"
    (checkout / "plaza").write_text("#!/bin/bash")
    assert commit_of(checkout) == f"commit {commit}-dirty"


def test_commit_counts_from_the_last_tag(checkout):
    git(checkout, "tag", "v0.1.0")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "Go on")
    assert commit_of(checkout) == f"commit v0.1.0-1-g{git(checkout, 'rev-parse', '--short', 'HEAD')}"


def test_a_worktree_is_a_checkout_too(checkout, tmp_path_factory):
    worktree = tmp_path_factory.mktemp("worktrees") / "another"
    git(checkout, "worktree", "add", "--quiet", str(worktree))
    assert commit_of(worktree) == commit_of(checkout)


def test_the_repository_of_a_hook_is_not_taken_for_the_checkout(checkout, monkeypatch):
    expected = commit_of(checkout)
    monkeypatch.setenv("GIT_DIR", str(CHECKOUT / ".git"))
    assert commit_of(checkout) == expected


def test_an_installation_in_the_repository_of_something_else_is_of_unknown_commit(checkout):
    installed = checkout / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    assert commit_of(installed) == "unknown commit"


def test_without_git_the_commit_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert commit_of(checkout) == "unknown commit"


def test_a_broken_repository_is_of_unknown_commit(tmp_path):
    (tmp_path / ".git").mkdir()
    assert commit_of(tmp_path) == "unknown commit"
