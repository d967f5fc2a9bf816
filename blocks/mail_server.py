"""The mail server as a Prefect block, so that a site sets it once for all processes."""

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from pydantic import Field, SecretStr

from blocks.errors import ConfigurationError
from blocks.smtp_server import SmtpServer


class MailServer(Block):
    """A mail server that takes mail by SMTP.

    Save it as `mail-server/plaza`: processes that have a Prefect API and no PLAZA_SMTP_HOST use that one.
    """

    _block_type_name = "Mail Server"
    _block_type_slug = "mail-server"

    host: str = Field(description="The server's name or address")
    port: int = Field(25, ge=1, le=65535, description="Its port")
    sender: str = Field("plaza@localhost", description="Sender of mails whose recipe names none")
    username: str | None = Field(None, description="For servers that ask for one; the connection is then encrypted")
    password: SecretStr | None = Field(None, description="The user's password")

    def smtp_server(self) -> SmtpServer:
        """Return what it takes to send through it, without Prefect."""
        password = None if self.password is None else self.password.get_secret_value()
        return SmtpServer(self.host, self.port, self.sender, self.username, password)


def find_mail_server(name: str) -> MailServer | None:
    """Return a saved block; None if there is no such block.

    Raises
    ------
    ConfigurationError
        Prefect's API doesn't answer.
    """
    try:
        # The API that is configured, never a server that Prefect would start for us.
        with get_client(sync_client=True) as client:
            document = client.read_block_document_by_name(name, MailServer.get_block_type_slug())
    except ObjectNotFound:
        return None
    except httpx.HTTPError as error:
        raise ConfigurationError(
            f"Prefect's API doesn't answer ({error}), so the block mail-server/{name} can't be asked for the mail "
            "server; start Prefect's server, or set PLAZA_SMTP_HOST"
        ) from error
    return MailServer.model_validate(document.data)
