"""A mail server, and how a mail is handed over to it."""

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage

TIMEOUT_S = 60  # as Zocalo's mailer


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server and who sends through it; the sender is taken for mails that name none."""

    host: str
    port: int
    sender: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def send(self, mail: EmailMessage) -> dict[str, str]:
        """Hand over a mail.

        Returns
        -------
        dict
            Recipients that the server refused, each with the reason; the others get the mail.

        Raises
        ------
        OSError
            The server can't be reached, or refuses the mail (`smtplib.SMTPException` is an OSError).
        """
        with smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S) as smtp:
            if self.username is not None:
                smtp.starttls(context=ssl.create_default_context())  # a password never goes out in clear
                smtp.login(self.username, self.password or "")
            refused = smtp.send_message(mail)
        return {recipient: f"{code} {reason.decode(errors='replace')}" for recipient, (code, reason) in refused.items()}
