"""The command line `plaza`: thin doors onto flows and tasks."""

from flows.cli.main import main

__all__ = ["main"]
