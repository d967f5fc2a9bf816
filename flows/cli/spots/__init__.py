"""The command that finds spots in images at once, without a server."""

from flows.cli.spots.commands import spots

__all__ = ["spots"]
