"""The names by which the server may be asked for."""

from __future__ import annotations

import socket

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import get_settings
from flows.site.api_server.api_guard.hosts import KnownHosts


def test_machine_is_known_by_its_name_and_loopback():
    hosts = KnownHosts.of_this_machine("127.0.0.1")
    for name in ("127.0.0.1", "localhost:1", socket.gethostname(), f"{socket.gethostname().upper()}:4200", "[::1]"):
        assert hosts.know(name), name


def test_server_of_all_addresses_is_known_by_each(monkeypatch):
    own = type("Address", (), {"family": socket.AF_INET, "address": "192.0.2.7"})
    monkeypatch.setattr("psutil.net_if_addrs", lambda: {"eth0": [own]})
    assert KnownHosts.of_this_machine("0.0.0.0").know("192.0.2.7:4200")
    assert not KnownHosts.of_this_machine("0.0.0.0").know("192.0.2.8:4200")
    assert not KnownHosts.of_this_machine("127.0.0.1").know("192.0.2.7:4200")


def test_names_to_be_trusted_may_be_written_in_any_way():
    hosts = KnownHosts.of_this_machine("127.0.0.1", ["Plaza.Example:8443", "2001:DB8::1", "[2001:db8::2]"])
    for name in ("plaza.example", "plaza.example:443", "[2001:db8:0::1]:4200", "[2001:db8::2]"):
        assert hosts.know(name), name


def test_address_of_a_page_is_no_name(monkeypatch):
    monkeypatch.setenv("PLAZA_TRUSTED_HOSTS", '["https://plaza.example/"]')
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="PLAZA_TRUSTED_HOSTS"):
        get_settings()
    get_settings.cache_clear()
