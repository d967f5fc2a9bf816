"""Commands on messages that no step could use."""

from flows.cli.dead_letters.commands import app

__all__ = ["app"]
