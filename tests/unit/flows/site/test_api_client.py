"""What is sent to whoever listens at the address of a site."""

from __future__ import annotations

import httpx
import pytest

from flows.site.access.secret import authorization, make_secret
from flows.site.api_client import ask_api
from flows.site.running_site import RunningSite


@pytest.mark.parametrize(("path", "is_sent"), [("health", False), ("ready", False), ("flow_runs/count", True)])
def test_the_secret_is_sent_only_where_it_is_asked_for(tmp_path, monkeypatch, path, is_sent):
    sent = []

    def answer(*_, headers, **__):
        sent.append(headers)
        return httpx.Response(200, json=True, request=httpx.Request("GET", "http://127.0.0.1:9"))

    monkeypatch.setattr(httpx, "request", answer)
    secret = make_secret(tmp_path, {})
    assert ask_api(RunningSite(tmp_path, "http://127.0.0.1:9/api", "http://127.0.0.1:9", "tcp://127.0.0.1:8"), path)
    assert sent == [{"Authorization": authorization(secret)} if is_sent else {}]
