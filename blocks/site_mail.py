"""The site's mail server: that of the settings, else of the Prefect block `mail-server/plaza`, else none."""

from blocks.errors import PrefectUnavailable
from blocks.prefect_api import has_prefect_api
from blocks.settings import Settings
from blocks.smtp_server import SmtpServer

BLOCK_NAME = "plaza"


def find_smtp_server(settings: Settings) -> SmtpServer | None:
    """Return the mail server of this installation; None if it has none.

    Raises
    ------
    PrefectUnavailable
        Prefect's API, which may know it, doesn't answer.
    """
    if settings.smtp_host:
        return SmtpServer(settings.smtp_host, settings.smtp_port, settings.mail_sender)
    if not has_prefect_api():
        return None
    from blocks.mail_server import MailServer  # Prefect's blocks take a second to import
    from blocks.saved_blocks import find_block

    block = find_block(
        MailServer, BLOCK_NAME, holds="the mail server", setting="PLAZA_SMTP_HOST", away=PrefectUnavailable
    )
    return None if block is None else block.smtp_server()
