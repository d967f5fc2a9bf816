"""What may arrive for processing_recipe, and what is made of it."""

import json
from datetime import datetime
from decimal import Decimal

import pytest

from flows.events.bridge.judging import MOST_BYTES, BadMessage, kept_headers, read_request, seen, sender_of

DODAL_START = {
    "recipes": ["mimas"],
    "parameters": {
        "ispyb_dcid": 1001,
        "filename": None,
        "start_frame_index": 0,
        "number_of_frames": 12,
        "message_index": 0,
        "event": "start",
    },
}


@pytest.mark.parametrize(
    ("content", "recipes"),
    [
        ({"recipes": ["mimas"], "parameters": {"ispyb_dcid": 1234}}, ("mimas",)),
        ({"recipes": ["a", "b"], "parameters": {"ispyb_dcid": "1234", "a": "b=c", "k": ""}}, ("a", "b")),
        ({"recipes": [], "parameters": {"ispyb_process": 42}}, ()),
        ({"parameters": {"ispyb_process": 42}}, ()),
        ({"recipes": [], "parameters": {}, "custom_recipe": {"1": {"queue": "x"}, "start": [[1, []]]}}, ()),
        (DODAL_START, ("mimas",)),
        ({**DODAL_START, "something": {"else": [None]}}, ("mimas",)),
    ],
)
def test_what_clients_send_is_read_whole(content, recipes):
    request = read_request(json.dumps(content).encode())
    assert request.recipes == recipes
    assert request.parameters == content["parameters"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "isn't JSON in UTF-8"),
        (b"\xff not json", "isn't JSON in UTF-8"),
        ('{"recipes": ["ü"]}'.encode("latin-1"), "isn't JSON in UTF-8"),
        ('{"recipes": ["a"]}'.encode("utf-16"), "isn't JSON in UTF-8"),
        (rb'{"recipes": ["\ud800"]}', "isn't JSON in UTF-8"),
        (b'{"parameters": {"x": NaN}}', "isn't JSON in UTF-8"),
        (b'{"parameters": {"x": 1e999}}', "isn't JSON in UTF-8"),
        (b'{"parameters": {"x": ' + b"9" * 5000 + b"}}", "isn't JSON in UTF-8"),
        (b"[" * 100_000, "hundreds of times"),
        (b'{"a":' * 100_000, "hundreds of times"),
        (b"[1, 2]", "no object"),
        (b"null", "no object"),
        (b'"mimas"', "no object"),
        (b'{"recipes": ["a"], "parameters": ["x"]}', "parameters"),
        (b'{"recipes": ["a"], "parameters": null}', "parameters"),
        (b'{"recipes": [1]}', "recipes"),
        (b'{"recipes": {"a": 1}}', "recipes"),
        (b'{"recipes": [], "custom_recipe": "a"}', "custom_recipe"),
        (b'{"x": "' + b"a" * 10_000_000 + b'"}', f"expected {MOST_BYTES} at most"),
    ],
)
def test_what_is_no_request_is_refused_with_what_was_expected(body, reason):
    with pytest.raises(BadMessage) as refused:
        read_request(body)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_line_shows_the_beginning_of_a_body_whatever_it_is():
    assert seen(b"\xff\x1b[2J\n") == r"'\\xff\x1b[2J\n'"
    assert len(seen(b"\xff" * 10_000_000)) < 2000


@pytest.mark.parametrize(
    ("headers", "sender"),
    [
        ({"zocalo.go.user": "gda", "zocalo.go.host": "i03-ws001"}, "gda at i03-ws001"),
        ({"zocalo.go.user": b"gd\xff"}, r"gd\xff"),
        ({"zocalo.go.user": "a\x1b[2J\nb"}, r"a\x1b[2J\nb"),
        ({"zocalo.go.host": ["odd"]}, "['odd']"),
        ({}, "a sender who gives no name"),
    ],
)
def test_the_sender_is_named_as_far_as_he_says(headers, sender):
    assert sender_of(headers) == sender


def test_headers_of_any_type_are_kept_as_json_may_have_them():
    headers = {
        "zocalo.go.user": "me",
        "x-death": [{"count": 1, "time": datetime(2026, 11, 28), "reason": "rejected"}],
        "dlq-reinjected": "True",
        "workflows-recipe": True,
        "x-delivery-count": 3,
        "float": 1.5,
        "decimal": Decimal("1.5"),
        "bytes": b"\xff",
        "none": None,
        "huge": 2**63,
        "long": "x" * 100_000,
    }
    kept = kept_headers(headers)
    assert kept.keys() == headers.keys()
    assert kept["x-delivery-count"] == 3
    assert kept["workflows-recipe"] is True
    assert kept["dlq-reinjected"] == "True"
    assert len(json.dumps(kept)) < 5000
