"""The mail server's address from Prefect, and a real log-in over TLS."""

import datetime
import ipaddress
import socket
import ssl

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from blocks.errors import PrefectUnavailable
from blocks.settings import Settings
from blocks.site_mail import find_smtp_server
from blocks.smtp_server import SmtpServer
from flows.resources import SiteResources
from tasks.mailer import send_mail
from tasks.step.runner import try_step
from tests.support.fake_resources import FakeResources

MAIL = {"parameters": {"recipients": "operator@site", "subject": "images missing", "content": "text"}}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_block_tells_the_mail_server(tmp_path):
    from blocks.mail_server import MailServer

    settings = Settings(home=tmp_path, smtp_host=None)
    assert find_smtp_server(settings) is None
    block = MailServer(host="mail.site", port=587, sender="mx@site", username="me", password="secret")
    block.save("plaza")
    assert find_smtp_server(settings) == SmtpServer("mail.site", 587, "mx@site", "me", "secret")
    assert find_smtp_server(Settings(home=tmp_path, smtp_host="other", smtp_port=26)).host == "other"


@pytest.mark.slow
async def test_mail_is_kept_when_prefect_does_not_answer(tmp_path, caplog):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        with pytest.raises(PrefectUnavailable, match="PLAZA_SMTP_HOST"):
            find_smtp_server(Settings(home=tmp_path, smtp_host=None))
        outcome = await try_step(send_mail, MAIL, [None], SiteResources(Settings(home=tmp_path, smtp_host=None)))
    assert outcome.refused == []
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 1
    assert "PLAZA_SMTP_HOST" in caplog.text


class Postbox(MessageHandler):
    def __init__(self):
        super().__init__()
        self.mails = []

    def handle_message(self, message):
        self.mails.append(message)


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """A certificate for loopback, in a file that Python's default context trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


async def test_mail_goes_out_after_a_log_in_over_tls(certificate, tmp_path):
    seen = []

    def authenticate(server, session, envelope, mechanism, data):
        seen.append((data.login, data.password, session.ssl is not None))
        return AuthResult(success=data.password == b"secret")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    postbox = Controller(
        Postbox(),
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        authenticator=authenticate,
        auth_required=True,
    )
    postbox.start()
    try:
        server = SmtpServer("127.0.0.1", postbox.port, "mx@site", "me", "secret")
        resources = FakeResources(Settings(home=tmp_path), mail_server=server)
        await try_step(send_mail, MAIL, [None], resources)
    finally:
        postbox.stop()
    assert seen == [(b"me", b"secret", True)]
    assert [mail["From"] for mail in postbox.handler.mails] == ["mx@site"]
