"""Commands on recipe runs."""

from flows.cli.runs.logs import logs
from flows.cli.runs.resume import resume
from flows.cli.runs.show import show

__all__ = ["logs", "resume", "show"]
