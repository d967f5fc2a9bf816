"""Commands on ISPyB itself."""

from flows.cli.ispyb.tables import app

__all__ = ["app"]
