"""The keys of the site's Dask cluster: whoever reaches its ports without them gets nowhere.

One private key and one certificate, which is its own authority, for all of the site's scheduler, workers and clients:
whoever has a part of the cluster may run anything in the others, so keys of their own would part nothing.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from blocks.errors import ConfigurationError

if TYPE_CHECKING:
    from distributed.security import Security

VALID = timedelta(days=3650)
RENEWED_S = 30 * 24 * 3600.0  # s before its end
_FILE = "key-and-certificate.pem"

logger = logging.getLogger(__name__)


def keys_folder(home: Path) -> Path:
    """Return the folder of the site's keys."""
    return home / "dask-tls"


def make_keys(folder: Path) -> None:
    """Make the keys unless usable ones are there, readable by nobody else.

    Key and certificate are in one file, which is there whole or not at all, whenever this process is killed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # whatever the umask was, or has come to it since
    file = folder / _FILE
    if file.exists():
        file.chmod(0o600)
        if fault := _fault(file):
            logger.warning("the keys in %s are made anew: %s", file, fault)
        else:
            return
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)  # of one that was killed
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(_new_key_and_certificate())
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def security(folder: Path | None) -> Security:
    """Return how to speak with a Dask cluster.

    Parameters
    ----------
    folder
        Of its keys, as `make_keys` makes them; None: as Dask's own configuration says.

    Raises
    ------
    ConfigurationError
        The keys can't be read.
    """
    from distributed.security import Security

    if folder is None:
        return Security()
    file = folder / _FILE
    try:
        file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the Dask cluster's keys {file} can't be read ({error.strerror}): `plaza up` makes them, for its own user "
            "only, and PLAZA_DASK_KEYS names their folder"
        ) from error
    # Each of the files holds all: OpenSSL takes from it what it needs
    return Security(
        require_encryption=True,
        tls_ca_file=str(file),
        tls_client_cert=str(file),
        tls_client_key=None,
        tls_scheduler_cert=str(file),
        tls_scheduler_key=None,
        tls_worker_cert=str(file),
        tls_worker_key=None,
    )


def _fault(file: Path) -> str:
    """Say what is wrong with a file of key and certificate; nothing if it can be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(file)  # also sees that they belong together
        context.load_verify_locations(file)
    except (ssl.SSLError, OSError) as error:
        return str(error)
    until = [ssl.cert_time_to_seconds(str(certificate["notAfter"])) for certificate in context.get_ca_certs()]
    return "" if until and min(until) > time.time() + RENEWED_S else "the certificate has ended or will soon"


def _new_key_and_certificate() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # No host's name: Dask asks whether a certificate is of its authority, not whose it is
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Plaza's Dask cluster")])
    now = datetime.now(UTC).replace(tzinfo=None)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of the site's machines may differ
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
