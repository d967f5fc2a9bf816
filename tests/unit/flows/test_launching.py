"""Where Prefect's API doesn't answer, a launch may succeed later: it's no refusal."""

import socket
from types import SimpleNamespace
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from blocks.errors import PassingFault, PrefectUnavailable
from flows import launching
from flows.launching import PrefectLauncher
from tasks.step.ports import FailedLaunch, Launch

LAUNCH = Launch("archive-cbfs", 12, {}, "key", "archive")


@pytest.fixture
def api(monkeypatch):
    """Have the launcher ask an API at a port through a transport: Prefect's own tries thrice, which takes 1.5 s."""

    def api(transport, port=4200):
        def client():
            return PrefectClient(f"http://127.0.0.1:{port}/api", httpx_settings={"transport": transport})

        monkeypatch.setattr(launching, "get_client", client)

    return api


@pytest.fixture
def nobody_listens(api):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # so that no other process gets the port
        api(httpx.AsyncHTTPTransport(), closed.getsockname()[1])
        yield


@pytest.fixture
def answered(api):
    """Have the API answer with a status to who wants a deployment."""

    def answered(status):
        async def answer(request: httpx.Request) -> httpx.Response:
            if "csrf-token" in request.url.path:
                return httpx.Response(422, json={"detail": "CSRF protection is disabled."})
            if "flow_runs/filter" in request.url.path:
                return httpx.Response(200, json=[])
            return httpx.Response(status, json={"detail": "no"})

        api(httpx.MockTransport(answer))

    return answered


@pytest.mark.usefixtures("nobody_listens")
async def test_with_prefect_away_what_is_asked_may_succeed_later():
    with pytest.raises(PrefectUnavailable, match="doesn't answer: ConnectError"):
        await PrefectLauncher().installed(["archive-cbfs"])
    with pytest.raises(PrefectUnavailable, match="doesn't answer: ConnectError"):
        await PrefectLauncher().launch([LAUNCH])
    assert issubclass(PrefectUnavailable, PassingFault)


async def test_a_server_that_fails_is_away(answered):
    answered(500)
    with pytest.raises(PrefectUnavailable, match="500"):
        await PrefectLauncher().launch([LAUNCH])


@pytest.mark.parametrize(("status", "reason"), [(404, "it isn't deployed"), (409, "409")])
async def test_a_refusal_is_none_that_passes(answered, status, reason):
    answered(status)
    (launched,) = await PrefectLauncher().launch([LAUNCH])
    assert isinstance(launched, FailedLaunch)
    assert reason in launched.reason


async def test_a_recipe_whose_name_is_no_part_of_an_address_is_refused(answered):
    answered(404)
    (launched,) = await PrefectLauncher().launch([Launch("nul\x01x", 12, {}, "key", "a job's recipe")])
    assert isinstance(launched, FailedLaunch)
    assert "InvalidURL" in launched.reason


async def test_names_and_keys_fit_into_the_databases_index(monkeypatch, answered):
    given = {}

    async def arun_deployment(name, **arguments):
        given.update(arguments)
        return SimpleNamespace(id=UUID(int=1))

    answered(200)
    monkeypatch.setattr(launching, "arun_deployment", arun_deployment)
    await PrefectLauncher().launch([Launch("archive-cbfs", 12, {}, "k" * 20_000, "i03" * 20_000)])
    assert max(len(given["flow_run_name"]), len(given["idempotency_key"])) < 300
