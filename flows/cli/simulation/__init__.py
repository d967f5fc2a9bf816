"""Commands that let data collections happen."""

from flows.cli.simulation.commands import simulate

__all__ = ["simulate"]
