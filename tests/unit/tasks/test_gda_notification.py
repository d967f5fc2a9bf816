import errno
import socket

import pytest

from blocks.errors import MessageRefused, NodeRefused, PassingFault
from blocks.settings import Settings
from tasks import gda_notification
from tasks.gda_notification import notify_gda
from tasks.host_addresses import HostAddresses
from tasks.step.runner import try_step
from tests.support.fake_resources import FakeResources


@pytest.fixture
def gda():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)
        yield listener


async def notify(payloads, **parameters):
    return await try_step(notify_gda, {"parameters": parameters}, payloads, FakeResources(Settings()))


@pytest.mark.parametrize(
    ("payload", "datagram"),
    [
        (
            {
                "file-pattern-index": 12,
                "file-number": 3,
                "n_spots_total": 45,
                "n_spots_no_ice": 40,
                "estimated_d_min": 1.85,
                "total_intensity": 12345.0,
            },
            b"PIA:77:12:45:40:1.85:12345.0",
        ),
        ({"file-number": 3, "n_spots_total": 0}, b"PIA:77:3:0:0:0:0"),
        ({"file-number": 3}, b"PIA:77:3:0:0:0:0"),
        ({"file-pattern-index": 0, "file-number": 1, "estimated_d_min": None}, b"PIA:77:0:0:0:0:0"),
    ],
)
async def test_gda_hears_of_an_image(payload, datagram, gda):
    outcome = await notify([payload], dcid="77", host="127.0.0.1", port=str(gda.getsockname()[1]))
    assert gda.recv(200) == datagram
    assert (outcome.sent, outcome.refused) == ([], [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dcid": None}, "dcid"),
        ({"dcid": 0}, "dcid"),
        ({"host": ""}, "host"),
        ({"port": None}, "port"),
        ({"host": "{gda_host}"}, "placeholder"),
        ({"host": "no-such-host.invalid"}, "can't be told"),
    ],
)
async def test_wrong_parameters_are_refused(change, reason):
    parameters = {"dcid": 77, "host": "127.0.0.1", "port": 9, **change}
    outcome = await notify([{"file-number": 3, "n_spots_total": 1}], **parameters)
    assert reason in str(outcome.refused[0][1])


@pytest.mark.parametrize(
    "payload", [None, "text", {"n_spots_total": 1}, {"file-number": 3, "n_spots_total": None}, {"file-number": "x"}]
)
async def test_payload_that_is_no_image_is_refused(payload, gda):
    good = {"file-number": 4, "n_spots_total": 1}
    outcome = await notify([payload, good], dcid=77, host="127.0.0.1", port=gda.getsockname()[1])
    assert [message.payload for message, _ in outcome.refused] == [payload]
    assert gda.recv(200).startswith(b"PIA:77:4:"), "the next one must be told all the same"


async def test_beamlines_without_gda_are_left_alone():
    outcome = await notify([{"file-number": 3, "n_spots_total": 1}], dcid=77, host="mx-control", port=1)
    assert outcome.refused == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution"), PassingFault),
        (OSError(errno.ENETUNREACH, "network is unreachable"), PassingFault),
        (socket.gaierror(socket.EAI_NONAME, "name or service not known"), NodeRefused),
        (PermissionError(errno.EACCES, "no"), MessageRefused),
    ],
)
async def test_a_fault_of_the_network_may_pass(fault, error, monkeypatch):
    async def fail(*_):
        raise fault

    monkeypatch.setattr(gda_notification, "send_datagram", fail)
    outcome = await notify([{"file-number": 3, "n_spots_total": 1}], dcid=77, host="gda", port=9)
    assert type(outcome.refused[0][1]) is error


async def test_name_server_is_asked_once_for_many_images(gda, monkeypatch):
    asked, find = [], socket.getaddrinfo
    monkeypatch.setattr(gda_notification, "_addresses", HostAddresses())
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **how: asked.append(args[0]) or find(*args, **how))
    images = [{"file-number": number, "n_spots_total": 1} for number in range(1, 4)]
    await notify(images, dcid=77, host="127.0.0.1", port=gda.getsockname()[1])
    assert asked == ["127.0.0.1"]
    assert [gda.recv(200).split(b":")[2] for _ in images] == [b"1", b"2", b"3"]


async def test_a_host_that_nobody_knows_is_one_dead_letter_for_all_images(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(gda_notification, "_addresses", HostAddresses())
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    images = [{"file-number": number, "n_spots_total": 1} for number in range(1, 250)]
    outcome = await notify(images, dcid=77, host="gda.invalid", port=9)
    assert (len(outcome.refused), len(outcome.undone)) == (1, 248)
