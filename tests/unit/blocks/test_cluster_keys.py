"""The keys of the site's Dask cluster: whole, its user's only, and made anew when they are of no use."""

from __future__ import annotations

import os
import ssl
import stat
import time
from datetime import timedelta

import pytest

from blocks import cluster_keys
from blocks.analysis_cluster import connect_to_scheduler
from blocks.cluster_keys import make_keys, security
from blocks.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "home" / "dask-tls"
    umask = os.umask(0)  # of a user who lets all read
    try:
        make_keys(made)
    finally:
        os.umask(umask)
    return made


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_keys_are_readable_by_their_user_only(folder):
    [file] = folder.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]


def test_keys_that_others_may_read_are_closed_to_them_again(folder):
    [file] = folder.iterdir()
    file.chmod(0o644)
    folder.chmod(0o755)
    make_keys(folder)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]


def test_keys_are_made_once_and_last_for_years(folder):
    before = content(folder)
    make_keys(folder)
    assert content(folder) == before
    context = ssl.create_default_context(cafile=next(folder.iterdir()))
    [certificate] = [each for each in context.get_ca_certs() if "Plaza" in str(each["subject"])]
    assert ssl.cert_time_to_seconds(certificate["notAfter"]) > time.time() + 9 * 365 * 24 * 3600


@pytest.mark.parametrize("spoil", ["ended", "cut", "empty", "key alone", "of two pairs", "not text"])
def test_keys_of_no_use_are_made_anew(folder, spoil, tmp_path, monkeypatch):
    [file] = folder.iterdir()
    whole = file.read_bytes()
    key, begin, certificate = whole.partition(b"-----BEGIN CERTIFICATE")
    with monkeypatch.context() as patch:
        patch.setattr(cluster_keys, "VALID", timedelta(days=1))
        make_keys(tmp_path / "other")
    [other] = (tmp_path / "other").iterdir()
    spoilt = {
        "ended": other.read_bytes(),
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "key alone": key,
        "of two pairs": other.read_bytes().partition(b"-----BEGIN CERT")[0] + begin + certificate,
        "not text": b"\0\xff" * 300,
    }
    file.write_bytes(spoilt[spoil])
    make_keys(folder)
    assert file.read_bytes() not in (whole, spoilt[spoil])
    assert cluster_keys._fault(file) == ""


def test_what_a_killed_process_left_is_no_hindrance(tmp_path, monkeypatch):
    def killed():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cluster_keys, "_new_key_and_certificate", killed)
        with pytest.raises(KeyboardInterrupt):
            make_keys(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["key-and-certificate.new"]
    make_keys(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["key-and-certificate.pem"]


def test_absent_keys_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"key-and-certificate\.pem can't be read .*PLAZA_DASK_KEYS"):
        security(tmp_path)


async def test_address_without_keys_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no keys for the Dask scheduler at tls://127\.0\.0\.1:9"):
        async with connect_to_scheduler("tls://127.0.0.1:9"):
            pass


async def test_unencrypted_address_is_refused_if_there_are_keys(folder):
    with pytest.raises(ConfigurationError, match="expected tls://HOST:PORT"):
        async with connect_to_scheduler("tcp://127.0.0.1:9", folder):
            pass
