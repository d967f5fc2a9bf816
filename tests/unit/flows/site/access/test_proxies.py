"""No client asks a proxy for this machine, whatever the environment says."""

from __future__ import annotations

import os
import urllib.request
from importlib import import_module

import httpx
import pytest

from blocks.settings import Settings
from flows.site.access.proxies import without_proxies
from flows.site.running_site import RunningSite, site_environment

DEAD = "http://127.0.0.1:9"
HERE = ["127.0.0.1", "localhost", "[::1]"]
ENVIRONMENTS = [
    {"http_proxy": DEAD},
    {"HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD},
    {"Http_Proxy": DEAD, "all_proxy": DEAD},
    {"ALL_PROXY": "proxy.example:3128"},
    {"all_proxy": "socks5://127.0.0.1:9"},  # for which httpx lacks a package
    {"http_proxy": "ftp://proxy.example", "https_proxy": "proxy.example:none"},
    {"http_proxy": DEAD, "no_proxy": "data.example, .other.example"},
    {"http_proxy": DEAD, "NO_PROXY": "data.example"},
    {"http_proxy": DEAD, "no_proxy": "", "NO_PROXY": "data.example"},
    {"http_proxy": DEAD, "no_proxy": "[::1],[fe80::1]:80"},
    {"http_proxy": DEAD, "no_proxy": "*"},
    {"http_proxy": DEAD, "no_proxy": "data.example,*"},
]


@pytest.fixture
def environment(monkeypatch):
    """A function that makes the proxies of the environment those given, and no others."""

    def make(variables):
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return make


def asks_proxy(url: str) -> list[str]:
    """Who would ask a proxy for an address: httpx (Prefect's client), urllib, or websockets (Prefect's events)."""
    with httpx.Client(verify=False) as client:
        asking = ["httpx"] * (client._transport_for_url(httpx.URL(url)) is not client._transport)
    request = urllib.request.Request(url)
    # urllib would want [::1] to be excluded, which ends httpx; Prefect and Plaza don't use it
    has_bypass = urllib.request.proxy_bypass(request.host) or "[" in request.host
    if request.type in urllib.request.getproxies() and not has_bypass:
        asking.append("urllib")
    websockets_uri = import_module("websockets.uri").parse_uri(url.replace("http", "ws", 1))  # Prefect brings it along
    if import_module("websockets.proxy").get_proxy(websockets_uri):
        asking.append("websockets")
    return asking


@pytest.mark.parametrize("variables", ENVIRONMENTS, ids=str)
def test_nobody_asks_a_proxy_for_this_machine(environment, variables, tmp_path):
    environment(variables)
    site = RunningSite(tmp_path, "http://plaza.example:4200/api", "http://plaza.example:4200", "tls://127.0.0.1:1")
    environment(variables | site_environment(Settings(home=tmp_path), site))
    assert [asks_proxy(f"http://{host}:4200/api") for host in [*HERE, "plaza.example"]] == [[]] * 4
    assert [asks_proxy(f"https://{host}:4200/api") for host in HERE] == [[]] * 3


def test_without_that_all_three_would(environment):
    environment({"http_proxy": DEAD})
    assert asks_proxy("http://127.0.0.1:4200/api") == ["httpx", "urllib", "websockets"]


@pytest.mark.parametrize(
    ("variables", "host", "asked"),
    [
        ({"http_proxy": DEAD}, "data.example", True),
        ({"http_proxy": DEAD, "no_proxy": "data.example"}, "data.example", False),
        ({"http_proxy": DEAD, "NO_PROXY": ".example"}, "data.example", False),
        ({"http_proxy": DEAD, "no_proxy": "*"}, "data.example", False),
        ({"http_proxy": DEAD, "no_proxy": "", "NO_PROXY": "data.example"}, "data.example", True),
    ],
)
def test_proxies_for_the_world_outside_stay(environment, variables, host, asked):
    environment(variables)
    environment(variables | without_proxies())
    assert bool(asks_proxy(f"http://{host}/")) == asked


def test_doing_it_again_changes_nothing(environment):
    environment({"http_proxy": DEAD, "NO_PROXY": "data.example"})
    once = without_proxies()
    environment({"http_proxy": DEAD, **once})
    assert without_proxies() == once
