"""`plaza --version`: which Plaza this is."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import typer

from blocks.settings import CHECKOUT

_GIT_TIMEOUT_S = 10.0


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout as `git describe` says it: after the last tag, with `-dirty` if files differ.

    `unknown commit` if the folder is no checkout, or git isn't there.
    """
    if not (checkout / ".git").exists():  # git would look in the folders above: an environment may lie in a repository
        return "unknown commit"
    # told where the repository is, git neither minds that it belongs to another user nor takes a hook's GIT_DIR for it
    command = ["git", "--no-optional-locks", f"--git-dir={checkout / '.git'}", f"--work-tree={checkout}"]
    command += ["describe", "--always", "--tags", "--dirty"]
    try:
        said = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return "unknown commit"
    return f"commit {said.stdout.strip()}"


def show_version(asked: bool) -> None:
    """Print the version and end, if asked to."""
    if asked:
        typer.echo(f"plaza {version('plaza')}, {commit_of(CHECKOUT)}")
        raise typer.Exit
