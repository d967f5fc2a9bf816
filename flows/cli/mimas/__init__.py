"""Commands that say what Mimas would run, and why."""

from flows.cli.mimas.commands import app

__all__ = ["app"]
