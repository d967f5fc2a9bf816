"""Commands on the site that runs here."""

from flows.cli.site.deploy import deploy
from flows.cli.site.service import down, prefect, status, up
from flows.cli.site.settings import settings

__all__ = ["deploy", "down", "prefect", "settings", "status", "up"]
