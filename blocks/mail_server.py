"""The mail server as a Prefect block, so that a site sets it once for all processes."""

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

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
