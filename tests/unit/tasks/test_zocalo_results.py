"""A beamline hears where its crystals are: the right one, once, and only what its device can read."""

import json
import time

import pytest

from blocks.errors import DatabaseUnavailable, MessageRefused, NodeRefused, UnknownStep
from blocks.settings import Settings
from tasks.broker_outbox import BrokerMessage, outbox_folder
from tasks.step.registry import load_step, queue_of
from tasks.step.runner import try_step
from tests.support.fake_resources import FakeResources

CRYSTAL = {
    "centre_of_mass": [2.5, 1.5, 0.5],
    "max_voxel": [2, 1, 0],
    "max_count": 30,
    "n_voxels": 4,
    "total_count": 90,
    "bounding_box": [[1, 1, 0], [4, 3, 1]],
    "sample_id": 55,
}
FOUND = {"results": [CRYSTAL], "status": "success", "type": "3d"}
PARAMETERS = {"dcid": "1001", "dcgid": 500}
NODE = {"service": "Send XRC results to GDA", "queue": "xrc.i03", "exchange": "results", "parameters": PARAMETERS}
URL = "amqp://a:b@mq/zocalo"


@pytest.fixture(autouse=True)
def no_prefect(monkeypatch):
    monkeypatch.setattr("blocks.site_broker.has_prefect_api", lambda: False)


@pytest.fixture(autouse=True)
def beamlines(monkeypatch):
    """The beamlines of collections in ISPyB; an error: it can't be asked."""
    beamlines = {}

    def read(engine, dcids):
        if error := beamlines.get("error"):
            raise error
        return {dcid: beamlines[dcid] for dcid in dcids if dcid in beamlines}

    monkeypatch.setattr("tasks.ispyb_access.reading.beamlines.read_beamlines", read)
    monkeypatch.setattr(FakeResources, "ispyb", None)
    return beamlines


@pytest.fixture
def send(tmp_path):
    """Send results of a node, and return what came of it and the messages that wait."""

    async def send(node, *payloads, **settings):
        options = {"home": tmp_path, "bridge": True, "broker_url": URL} | settings
        step = load_step(queue_of(1, node))
        outcome = await try_step(step, node, payloads, FakeResources(Settings(**options)))
        files = sorted(outbox_folder(tmp_path).glob("*.json"))
        return outcome, [BrokerMessage.model_validate_json(file.read_bytes()) for file in files]

    return send


async def test_a_result_waits_in_the_form_that_the_device_takes(send):
    outcome, (message,) = await send(NODE, FOUND)
    assert outcome.refused == []
    assert (message.exchange, message.queue, message.headers) == ("results", "xrc.i03", {"workflows-recipe": True})
    assert (message.expires_s, message.at_most_once) == (60.0, True)
    assert abs(message.written_at - time.time()) < 30
    body = message.body
    assert body.keys() == {"environment", "payload", "recipe", "recipe-path", "recipe-pointer"}
    assert (body["payload"], body["recipe-path"], body["recipe-pointer"]) == (FOUND, [], 1)
    assert body["environment"]["ID"]
    assert body["recipe"]["1"]["parameters"] == {"dcid": 1001, "dcgid": 500, "gpu": True}
    assert body["recipe"]["start"] == [[1, []]]


@pytest.mark.parametrize(
    ("change", "url", "gpu"),
    [
        ({"queue": "xrc.i03"}, URL, True),
        ({"queue": "xrc.i04"}, URL, None),
        ({"queue": "xrc.i03"}, f"{URL}?gpu_beamlines=", None),
        ({"parameters": PARAMETERS | {"gpu": "False"}}, URL, None),  # to the device any text would be true
        ({"parameters": PARAMETERS | {"gpu": "true"}, "queue": "xrc.i04"}, URL, True),
        ({"parameters": PARAMETERS | {"gpu": ""}}, URL, None),  # says that it's a CPU's
        ({"parameters": PARAMETERS | {"gpu": "{gpu}"}}, URL, True),  # says nothing
    ],
)
async def test_gpu_is_said_to_the_beamlines_that_expect_it(change, url, gpu, send):
    _, (message,) = await send(NODE | change, FOUND, broker_url=url)
    assert message.body["recipe"]["1"]["parameters"].get("gpu") is gpu


async def test_no_diffraction_is_a_result_too(send):
    _, (message,) = await send(NODE, FOUND | {"results": []})
    assert message.body["payload"]["results"] == []


async def test_without_results_there_is_no_crystal(send):
    outcome, (message,) = await send(NODE, {"status": "success", "type": "3d"})
    assert message.body["payload"] == {"results": [], "status": "success", "type": "3d"}
    assert not outcome.notes.counts()


@pytest.mark.parametrize("results", [{}, {"results": []}, {"results": [CRYSTAL]}])
async def test_a_failure_is_told_as_no_crystal_so_that_nobody_waits(results, send):
    outcome, (message,) = await send(NODE, {"status": "fail", "type": "3d"} | results)
    assert message.body["payload"] == {"results": [], "status": "fail", "type": "3d"}
    assert "centring failed" in next(iter(outcome.notes.counts()))


async def test_a_result_goes_to_no_other_beamline_than_its_collection_is_of(send, beamlines):
    beamlines[1001] = "i04"
    for said in ({}, {"beamline": "{ispyb_beamline}"}):
        outcome, messages = await send(NODE | {"parameters": PARAMETERS | said}, FOUND)
        assert messages == []
        assert isinstance(outcome.refused[0][1], NodeRefused)
        assert "the collection is of 'i04'" in str(outcome.refused[0][1])
    _, (message,) = await send(NODE | {"queue": "xrc.i04"}, FOUND)
    assert message.queue == "xrc.i04"


async def test_while_ispyb_is_away_the_queue_counts_and_it_is_said(send, beamlines):
    beamlines["error"] = DatabaseUnavailable("away")
    outcome, (message,) = await send(NODE, FOUND)
    assert message.queue == "xrc.i03"
    assert "ISPyB can't say" in next(iter(outcome.notes.counts()))


@pytest.mark.parametrize(
    "payload",
    [
        {"results": [CRYSTAL], "status": "success", "type": "2d"},
        {"results": [{"centre_of_mass": [1.5, 2.5], "status": "fail", "message": "No good images found"}]},
    ],
)
async def test_what_has_two_dimensions_is_noted_and_goes_nowhere(payload, send):
    outcome, messages = await send(NODE, payload)
    assert (messages, outcome.refused) == ([], [])
    assert "two dimensions" in next(iter(outcome.notes.counts()))


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "",
        [],
        [CRYSTAL],
        {},
        7,
        {"results": None},
        {"results": "x"},
        {"results": [1]},
        {"results": [CRYSTAL | {"centre_of_mass": None}]},
    ],
)
async def test_what_would_kill_the_device_is_refused(payload, send):
    outcome, messages = await send(NODE, payload)
    assert messages == []
    ((_, error),) = outcome.refused
    assert isinstance(error, MessageRefused)
    assert "3-D centring" in str(error)


@pytest.mark.parametrize("parameters", [{"dcid": 1}, {"dcgid": 1}, {"dcid": 0, "dcgid": 1}, {"dcid": "x", "dcgid": 1}])
async def test_a_result_of_no_collection_is_refused(parameters, send):
    outcome, messages = await send(NODE | {"parameters": parameters}, FOUND)
    assert messages == []
    assert "dc" in str(outcome.refused[0][1])


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": PARAMETERS | {"beamline": "i04"}},
        {"exchange": "é" * 150},
        {"queue": None, "service": "Send XRC results to GDA"},
    ],
)
async def test_a_node_that_does_not_say_for_whom_is_refused(change, send):
    outcome, messages = await send(NODE | change, FOUND)
    assert messages == []
    assert isinstance(outcome.refused[0][1], NodeRefused)


def test_a_queue_of_another_shape_has_no_step():
    for queue in ("xrc.i03.x", "xrc.", "xrc", "xrc.i03\n", "other.i03"):
        with pytest.raises(UnknownStep):
            queue_of(1, {"queue": queue})


async def test_a_label_and_a_beamline_name_the_queue(send):
    node = {"service": NODE["service"], "parameters": PARAMETERS | {"beamline": "i04"}}
    _, (message,) = await send(node, FOUND)
    assert (message.exchange, message.queue) == ("results", "xrc.i04")


async def test_without_a_bridge_nothing_is_kept_and_it_is_said(send, tmp_path):
    outcome, messages = await send(NODE, FOUND, FOUND, bridge=False)
    assert (messages, outcome.refused) == ([], [])
    ((text, count),) = outcome.notes.counts().items()
    assert "no bridge" in text
    assert count == 2
    assert not outbox_folder(tmp_path).exists()


async def test_beamlines_that_wait_for_nothing_are_sent_nothing(send):
    outcome, messages = await send(NODE | {"queue": "xrc.i24"}, FOUND)
    assert (messages, outcome.refused) == ([], [])
    assert "i24 isn't one of the beamlines" in json.dumps(outcome.notes.counts())
