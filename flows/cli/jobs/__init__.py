"""Commands on processing jobs."""

from flows.cli.jobs.commands import app

__all__ = ["app"]
