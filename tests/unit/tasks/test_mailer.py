import email
import logging
import smtplib
import socket
from email.policy import default

import pytest
from aiosmtpd.controller import Controller

from blocks.retrying import Pauses
from blocks.settings import Settings
from blocks.smtp_server import SmtpServer
from flows.resources import SiteResources
from tasks import mailer
from tasks.mailer import fill_in, is_permanent, send_mail
from tasks.step.runner import try_step
from tests.support.fake_resources import FakeResources
from tests.support.interruptions import InterruptedRun

MAIL = {"recipients": "operator@site", "subject": "images missing", "content": "Missing: {payload}"}


class Postbox:
    """Keeps the mails that come in, after refusing as many with the replies it's given."""

    def __init__(self):
        self.mails, self.replies, self.tries = [], [], 0

    async def handle_DATA(self, server, session, envelope):
        self.tries += 1
        if self.replies:
            return self.replies.pop(0)
        self.mails.append((envelope, email.message_from_bytes(envelope.content, policy=default)))
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def postbox():
    controller = Controller(Postbox(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(mailer, "PAUSES", Pauses(0.0, 0.0))


@pytest.fixture
def settings(tmp_path, postbox):
    return Settings(home=tmp_path, smtp_host="127.0.0.1", smtp_port=postbox.port, mail_sender="plaza@beamline.site")


async def send(settings, payload=None, recipe_run="run-1", **parameters):
    node = {"parameters": parameters}
    return await try_step(send_mail, node, [payload], SiteResources(settings), recipe_run=recipe_run)


async def test_mail_arrives(settings, postbox, tmp_path):
    outcome = await send(settings, {"file": "µ_1.cbf"}, **{**MAIL, "from": "mx@site"})
    assert (outcome.sent, outcome.refused) == ([], [])
    ((envelope, mail),) = postbox.handler.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("mx@site", ["operator@site"])
    assert (mail["From"], mail["To"], mail["Subject"]) == ("mx@site", "operator@site", "images missing")
    assert mail.get_content().strip() == "Missing: {'file': 'µ_1.cbf'}"
    assert not (tmp_path / "mail").exists()


@pytest.mark.parametrize("is_sent", [True, False])
async def test_text_that_no_mail_can_hold_is_written_in_other_characters(is_sent, settings, postbox, tmp_path):
    if not is_sent:
        settings = settings.model_copy(update={"smtp_host": None})
    outcome = await send(
        settings, "caf\udce9_1.cbf", recipients=["a@x", "\ud83e@x"], subject="\udce9", content="sur \ud83e {payload}"
    )
    assert outcome.refused == []
    if is_sent:
        ((_, mail),) = postbox.handler.mails
    else:
        (kept,) = (tmp_path / "mail").glob("*.eml")
        mail = email.message_from_bytes(kept.read_bytes(), policy=default)
    assert mail["Subject"] == r"\udce9"
    assert mail.get_content().strip() == r"sur \ud83e caf\udce9_1.cbf"


@pytest.mark.parametrize(
    ("recipients", "addressed"),
    [
        ({"recipients": "a@x"}, ["a@x"]),
        ({"recipient": "a@x"}, ["a@x"]),
        ({"recipient": "b@x", "recipients": ["c@x", "a@x"]}, ["c@x", "a@x"]),
        ({"recipients": {"select": "i03", "i03": ["c@x", "a@x"], "i04": ["d@x"]}}, ["a@x", "c@x"]),
        ({"recipients": {"select": "i03", "i03": "c@x", "all": ["a@x", "c@x"]}}, ["a@x", "c@x"]),
        ({"recipients": {"select": "i24", "i03": ["c@x"], "all": "a@x"}}, ["a@x"]),
    ],
)
async def test_recipients_are_chosen(recipients, addressed, settings, postbox):
    await send(settings, content="text", **recipients)
    assert postbox.handler.mails[0][0].rcpt_tos == addressed


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"content": "text"}, "no recipients"),
        ({"content": "text", "recipients": []}, "no recipients"),
        ({"content": "text", "recipients": {"i03": ["a@x"]}}, "select"),
        ({"content": "text", "recipients": {"select": "i24", "i03": ["a@x"]}}, "no recipients"),
        ({"recipients": "a@x"}, "no content"),
        ({"recipients": "a@x", "content": []}, "no content"),
        ({"recipients": "a@x", "content": 3}, "content"),
        ({"recipients": "a@x", "content": "text", "from": "a@x\nBcc: b@x"}, "headers"),
    ],
)
async def test_mail_that_cannot_be_is_refused(parameters, reason, settings, postbox):
    outcome = await send(settings, **parameters)
    assert reason in str(outcome.refused[0][1])
    assert postbox.handler.mails == []


async def test_what_a_recipe_leaves_out_is_filled_in(settings, postbox):
    await send(settings, recipients="a@x", content=["one ", "text"])
    mail = postbox.handler.mails[0][1]
    assert mail["Subject"] == "mail notification via zocalo"
    assert mail["From"] == "plaza@beamline.site"
    assert mail.get_content().strip() == "one text"


async def test_message_may_bring_the_whole_mail(settings, postbox):
    outcome = await send(settings, {"parameters": {"recipients": "a@x", "subject": "by hand"}, "content": "text"})
    assert outcome.refused == []
    assert postbox.handler.mails[0][1]["Subject"] == "by hand"


PRINTED_LIST = f"['/data/{'a' * 40}',\n '/data/{'b' * 40}']"


@pytest.mark.parametrize(
    ("content", "payload", "text"),
    [
        ("{payload}", ["a", "b"], "['a', 'b']"),
        ("{pprint_payload}", ["a", "b"], "['a', 'b']"),
        ("{pprint_payload}", ["/data/" + "a" * 40, "/data/" + "b" * 40], PRINTED_LIST),
        ("{pprint_payload}", [], "[]"),
        ("{pprint_payload}", "one\ntwo", "'one\\ntwo'"),
        ("{pprint_payload}", {"b": 1, "a": [2]}, "{'a': [2], 'b': 1}"),
        ('{"json": {visit}} {payload}', 3, '{"json": {visit}} 3'),
        ("{payload}", "{pprint_payload}", "{pprint_payload}"),
    ],
)
def test_payload_is_put_into_the_text(content, payload, text):
    assert fill_in(content, payload) == text


async def test_same_mail_has_the_same_message_id(settings, postbox):
    for payload, run in [({"n": 1}, "run-1"), ({"n": 1}, "run-1"), ({"n": 2}, "run-1"), ({"n": 1}, "run 2/é")]:
        await send(settings, payload, recipe_run=run, **MAIL)
    first, again, other_payload, other_run = (mail["Message-ID"] for _, mail in postbox.handler.mails)
    assert first == again
    assert len({first, other_payload, other_run}) == 3
    assert first.startswith("<plaza.run-1.")
    assert first.endswith("@beamline.site>")


async def test_passing_fault_is_tried_again(settings, postbox, tmp_path):
    postbox.handler.replies = ["451 busy", "451 busy"]
    await send(settings, **MAIL)
    assert len(postbox.handler.mails) == 1
    assert not (tmp_path / "mail").exists()


@pytest.mark.parametrize(
    ("replies", "tries"), [(["451 busy"] * 3, 3), (["554 spam", "250 OK"], 1)], ids=["lasting", "permanent"]
)
async def test_mail_that_the_server_refuses_is_kept(replies, tries, settings, postbox, tmp_path, caplog):
    postbox.handler.replies = list(replies)
    outcome = await send(settings, "p", **MAIL)
    assert outcome.refused == []
    assert postbox.handler.tries == tries
    (kept,) = (tmp_path / "mail").iterdir()
    mail = email.message_from_bytes(kept.read_bytes(), policy=default)
    assert (mail["To"], mail.get_content().strip()) == ("operator@site", "Missing: p")
    assert str(kept) in caplog.text
    assert caplog.records[-1].levelname == "ERROR"


async def test_mail_is_kept_when_the_server_is_away(settings, tmp_path, caplog):
    away = settings.model_copy(update={"smtp_port": free_port()})
    await send(away, **MAIL)
    await send(away, **MAIL)
    assert len(list((tmp_path / "mail").iterdir())) == 1, "the same mail is kept once"
    assert "refused" in caplog.text


async def test_one_unknown_recipient_does_not_stop_the_others(settings, postbox, caplog, tmp_path):
    await send(settings, **{**MAIL, "recipients": ["unknown@x", "a@x"]})
    assert postbox.handler.mails[0][0].rcpt_tos == ["a@x"]
    assert "refuses unknown@x: 550 no such user" in caplog.text
    assert not (tmp_path / "mail").exists()


async def test_without_a_mail_server_mails_are_kept(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("blocks.site_mail.has_prefect_api", lambda: False)
    caplog.set_level(logging.INFO)
    await send(Settings(home=tmp_path, smtp_host=None), "text", **MAIL)
    (kept,) = (tmp_path / "mail").iterdir()
    assert kept.name.startswith("plaza.run-1.")
    assert kept.suffix == ".eml"
    assert "PLAZA_SMTP_HOST" in caplog.text


async def test_password_never_goes_out_in_clear(postbox, settings, tmp_path, caplog):
    server = SmtpServer("127.0.0.1", postbox.port, "a@x", username="me", password="secret")
    await try_step(send_mail, {"parameters": MAIL}, [None], FakeResources(settings, mail_server=server))
    assert postbox.handler.mails == []
    assert len(list((tmp_path / "mail").iterdir())) == 1
    assert "STARTTLS" in caplog.text
    assert "secret" not in repr(server)


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (smtplib.SMTPDataError(554, b"spam"), True),
        (smtplib.SMTPDataError(451, b"busy"), False),
        (smtplib.SMTPRecipientsRefused({"a": (550, b"unknown")}), True),
        (smtplib.SMTPRecipientsRefused({"a": (550, b"unknown"), "b": (450, b"grey")}), False),
        (smtplib.SMTPNotSupportedError("no STARTTLS"), True),
        (ConnectionRefusedError("away"), False),
        (TimeoutError("slow"), False),
    ],
)
def test_permanent_refusals_are_told_from_passing_ones(error, permanent):
    assert is_permanent(error) is permanent


async def test_mail_has_the_date_of_its_message(settings, postbox):
    run = InterruptedRun(send_mail, {"parameters": MAIL}, [{}], SiteResources(settings))
    await run.process()
    date = postbox.handler.mails[0][1]["Date"].datetime
    assert date.tzinfo is not None
    assert date.timestamp() == run.messages[0].sent_at
