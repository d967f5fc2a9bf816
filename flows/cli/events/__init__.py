"""Commands that tell Mimas of events."""

from flows.cli.events.commands import app

__all__ = ["app"]
