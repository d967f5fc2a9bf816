"""Commands on the site that runs here."""

from flows.cli.site.deploy import deploy
from flows.cli.site.prefect_command import prefect
from flows.cli.site.service import down, up
from flows.cli.site.settings import settings
from flows.cli.site.status import status

__all__ = ["deploy", "down", "prefect", "settings", "status", "up"]
