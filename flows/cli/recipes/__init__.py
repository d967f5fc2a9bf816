"""Commands on recipe files."""

from flows.cli.recipes.commands import app

__all__ = ["app"]
