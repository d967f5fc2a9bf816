"""Mailer: send what a recipe has to say to people.

The mail goes to the server of the settings or of the Prefect block `mail-server/plaza`. Without one, or if it can't
be handed over after a few tries, it's kept as a file in the home folder's `mail/`, and an error is logged: unlike
Zocalo's, a mail is never lost. A process that is killed right after the server took the mail sends it once more; its
Message-ID follows from the recipe run and what it says, and its date is that of the message, so the same mail sent
twice can be seen to be one, and is kept once.
"""

import hashlib
import json
import pprint
import re
import smtplib
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Annotated, Any

from pydantic import Field, ValidationError

from blocks.errors import MessageRefused, PrefectUnavailable
from blocks.retrying import Pauses, retry_blocking
from blocks.validation_faults import describe
from tasks.step import Fills, Message, NodePlan, Send, StepContext, StepParameters, message_step
from tasks.step.atomic_file import write_atomically
from tasks.step.ports import MailTransport

TRIES = 3
PAUSES = Pauses(first_s=2.0, longest_s=8.0)
ANYBODY = "somebody@localhost"  # for a mail that isn't sent
PERMANENT = range(500, 600)  # SMTP's replies to what it will never take

_FIELD = re.compile(r"\{(payload|pprint_payload)\}")


class MailParameters(StepParameters):
    """The mail, before the message's payload is put in."""

    recipients: Any = None
    recipient: Any = None
    sender: str | None = Field(None, alias="from")
    subject: str = "mail notification via zocalo"
    content: Annotated[str | list[str] | None, Fills("payload", "pprint_payload")] = None

    @property
    def is_empty(self) -> bool:
        """The recipe says nothing of a mail, so the message has to."""
        return not self.recipients and not self.recipient and not self.content

    def addressees(self) -> list[str]:
        """Return who gets the mail.

        Raises
        ------
        MessageRefused
            Nobody does.
        """
        named = self.recipients or self.recipient
        if isinstance(named, Mapping):
            if "select" not in named:
                raise MessageRefused(f"expected `select` to name one of the lists of recipients, seen {dict(named)}")
            # As in Zocalo, each address once: those of the list that is chosen, and those of everybody
            named = sorted({*_as_list(named.get(named["select"])), *_as_list(named.get("all"))})
        addresses = _as_list(named)
        if not addresses:
            raise MessageRefused("the mail has no recipients: expected addresses as `recipients`")
        return addresses


def check_mail(parameters: MailParameters, plan: NodePlan) -> None:
    """Refuse a mail without recipients or without content, unless it comes with the messages."""
    if not parameters.is_empty:
        compose(parameters, Message(None), "", ANYBODY)
    for payload in plan.payloads or ():
        compose(_mail_of(parameters, payload), Message(payload), "", ANYBODY)


@message_step(queue="mailnotification", parameters=MailParameters, check=check_mail)
def send_mail(parameters: MailParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Send a mail, or keep it where an operator finds it."""
    settings = context.resources.settings
    parameters = _mail_of(parameters, message.payload)
    mail = compose(parameters, message, context.recipe_run, settings.mail_sender)
    kept = settings.home / "mail" / f"{_file_stem(mail)}.eml"
    try:
        server = context.resources.mail_server()
        if server is not None:
            _hand_over(mail, parameters, server, context)
            return []
        context.logger.info("no PLAZA_SMTP_HOST and no block mail-server/plaza: the mail is kept as %s", kept)
    except (PrefectUnavailable, OSError, ValueError) as error:
        context.logger.error("the mail %r can't be sent and is kept as %s: %s", mail["Subject"], kept, error)
    write_atomically(kept, mail.as_bytes(policy=SMTP))
    return []


def compose(parameters: MailParameters, message: Message, recipe_run: str, default_sender: str) -> EmailMessage:
    """Write a mail.

    Raises
    ------
    MessageRefused
        It has no recipients, no content, or headers that can't be.
    """
    recipients = [_encodable(address) for address in parameters.addressees()]
    content = "".join(_as_list(parameters.content))
    if not content:
        raise MessageRefused("the mail has no content: expected a text or a list of texts as `content`")
    content = _encodable(fill_in(content, message.payload))
    sender = _encodable(parameters.sender or default_sender)
    mail = EmailMessage()
    try:
        mail["Subject"] = _encodable(" ".join(parameters.subject.split()))  # a header can't have a line's end in it
        mail["To"] = ", ".join(recipients)
        mail["From"] = sender
    except ValueError as error:
        raise MessageRefused(
            f"the mail's headers can't be: {error}; recipients {recipients!s:.200}, from {sender!r:.100}"
        ) from error
    said = json.dumps([recipients, parameters.subject, content, message.payload], sort_keys=True, default=str)
    digest = hashlib.sha256(said.encode(errors="replace")).hexdigest()[:16]
    domain = parseaddr(default_sender)[1].rpartition("@")[2] or "localhost"
    mail["Message-ID"] = f"<plaza.{_plain(recipe_run)}.{digest}@{domain}>"
    mail["Date"] = datetime.fromtimestamp(message.sent_at or time.time()).astimezone()
    mail["Auto-Submitted"] = "auto-generated"  # no out-of-office replies
    mail.set_content(content)
    return mail


def fill_in(content: str, payload: Any) -> str:
    """Put a payload into a text for `{payload}` and, as Python's `pprint` lays it out, for `{pprint_payload}`."""
    values = {"payload": str(payload), "pprint_payload": pprint.pformat(payload)}
    return _FIELD.sub(lambda match: values[match[1]], content)


def _hand_over(mail: EmailMessage, parameters: MailParameters, server: MailTransport, context: StepContext) -> None:
    """Give a mail to the server, again after a pause if that fails for a reason that can pass."""
    mail.replace_header("From", _encodable(parameters.sender or server.sender))
    refused = retry_blocking(
        lambda: server.send(mail),
        lambda error: isinstance(error, OSError) and not is_permanent(error),
        PAUSES,
        tries=TRIES,
        tell=lambda fault, _: context.logger.warning(
            "%s:%d doesn't take a mail, trying again: %s", server.host, server.port, fault
        ),
    )
    context.logger.info("sent %r to %s", mail["Subject"], mail["To"])
    for recipient, reason in refused.items():
        context.logger.error("the mail server refuses %s: %s", recipient, reason)


def is_permanent(error: OSError) -> bool:
    """Tell whether a mail server's refusal won't pass."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code in PERMANENT for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code in PERMANENT
    return isinstance(error, smtplib.SMTPNotSupportedError)


def _mail_of(parameters: MailParameters, payload: Any) -> MailParameters:
    """Take the whole mail from the payload where the recipe says nothing of it: Zocalo's message without a recipe."""
    if not parameters.is_empty or not isinstance(payload, Mapping):
        return parameters
    named = payload.get("parameters")
    if not isinstance(named, Mapping):
        return MailParameters()
    try:
        return MailParameters.model_validate({"content": payload.get("content"), **named})
    except ValidationError as error:
        raise MessageRefused(f"the payload's parameters are wrong: {describe(error)}") from error


def _as_list(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple | set) else [value]
    return [str(item) for item in values if item]


def _encodable(text: str) -> str:
    r"""Write lone surrogates, such as Python's for bytes of a file's name that aren't UTF-8, as `\udce9`."""
    return text.encode(errors="backslashreplace").decode()


def _file_stem(mail: EmailMessage) -> str:
    return str(mail["Message-ID"]).strip("<>").rpartition("@")[0]


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", text)
