"""The command line `plaza`: thin doors onto flows and tasks."""

from flows.commands.main import main

__all__ = ["main"]
