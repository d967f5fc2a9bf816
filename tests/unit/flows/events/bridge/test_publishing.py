"""Whatever one file of the outbox brings about is that file's: it's kept aside with the reason."""

import json
import time

import pytest

from flows.events.bridge.publishing import REFUSED, Publisher
from flows.events.bridge.state import Tally
from tasks.broker_outbox import outbox_folder

MESSAGE = {"queue": "q", "body": {}, "written_at": time.time()}


@pytest.fixture
def publisher(tmp_path):
    publisher = Publisher(tmp_path, Tally(tmp_path))
    publisher.prepare()
    return publisher


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(MESSAGE | {"queue": "é" * 150}),
        json.dumps(MESSAGE | {"exchange": "é" * 150}),
        json.dumps(MESSAGE | {"queue": "a\0b"}),
        json.dumps(MESSAGE | {"headers": {"x": 2**70}}),
        json.dumps(MESSAGE | {"expires_s": 1e300}),
        json.dumps(MESSAGE | {"written_at": float("inf"), "expires_s": 1}),
        '{"queue": "q", "written_at": 1, "body": ' + "[" * 5000 + "]" * 5000 + "}",
        "",
    ],
    ids=["long queue", "long exchange", "NUL", "huge number", "endless", "no time", "deep", "empty"],  # not their times
)
def test_what_no_broker_takes_is_refused_with_the_reason(publisher, text):
    path = outbox_folder(publisher.home) / "1.json"
    path.write_text(text)
    assert publisher._read(path) is None
    assert (publisher.folder / REFUSED / path.name).read_text() == text
    assert publisher.tally.last_error


def test_what_is_fit_is_read(publisher):
    path = outbox_folder(publisher.home) / "1.json"
    path.write_text(
        json.dumps(MESSAGE | {"queue": "é" * 127, "headers": {"x": True}, "expires_s": 60, "written_at": time.time()})
    )
    message, content = publisher._read(path)
    assert (message.queue, content.body) == ("é" * 127, b"{}")
