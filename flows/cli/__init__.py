"""The command line `plaza`: thin doors onto flows and tasks."""

from flows.cli.process_list import hide_urls

hide_urls()  # before the imports below: they take a third of a second, in which others could read a password

from flows.cli.main import main  # noqa: E402

__all__ = ["main"]
