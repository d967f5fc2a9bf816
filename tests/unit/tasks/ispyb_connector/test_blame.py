"""What is wrong with a node costs one dead letter, what is wrong with a message one each."""

import pytest

from blocks.errors import NodeRefused
from tasks.ispyb_connector.storing import store_in_ispyb
from tasks.step.runner import try_step
from tests.support.fake_resources import FakeResources

PER_IMAGE = "store_per_image_analysis_results"
IMAGE = {"file-number": 1, "n_spots_total": 1, "estimated_d_min": 2.5, "total_intensity": 1e4}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"ispyb_command": PER_IMAGE, "dcid": "{ispyb_dcid}"}, "seen '{ispyb_dcid}'"),
        ({"ispyb_command": "insert_xray_centring", "dcid": "{ispyb_dcid}"}, "seen '{ispyb_dcid}'"),
        ({"ispyb_command": "store_per_image_analysis", "dcid": 7}, f"is it {PER_IMAGE}"),
        ({"ispyb_command": "{command}", "dcid": 7}, "there is no ISPyB command '{command}'"),
    ],
)
async def test_what_is_wrong_with_the_node_is_said_once(parameters, reason):
    outcome = await try_step(store_in_ispyb, {"parameters": parameters}, [IMAGE] * 3, FakeResources())
    ((_, error),) = outcome.refused
    assert isinstance(error, NodeRefused)
    assert reason in str(error)
    assert len(outcome.undone) == 2


@pytest.mark.parametrize(
    ("parameters", "payload"),
    [
        ({"ispyb_command": PER_IMAGE, "dcid": 7}, {**IMAGE, "file-number": "one"}),
        ({"ispyb_command": PER_IMAGE, "dcid": 7}, {**IMAGE, "dcid": "{ispyb_dcid}"}),
        ({"ispyb_command": PER_IMAGE, "dcid": "{ispyb_dcid}"}, {**IMAGE, "dcid": 7, "file-number": "one"}),
        ({}, {"parameters": {"ispyb_command": "unknown"}, "content": {}}),
    ],
)
async def test_what_is_wrong_with_a_message_is_said_of_each(parameters, payload):
    outcome = await try_step(store_in_ispyb, {"parameters": parameters}, [payload] * 3, FakeResources())
    assert [isinstance(error, NodeRefused) for _, error in outcome.refused] == [False] * 3
