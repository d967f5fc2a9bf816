"""Messages wait for the bridge in files."""

import json
import time

import pytest

from blocks.settings import Settings
from tasks.broker_outbox import PUBLISHED, BrokerMessage, is_there, outbox_folder, put


def test_a_message_waits_in_the_home_whole(tmp_path):
    before = time.time()
    path = put("q", {"a": [1]}, exchange="e", headers={"h": True}, expires_s=5, home=tmp_path)
    message = BrokerMessage.model_validate_json(path.read_bytes())
    assert path.parent == outbox_folder(tmp_path)
    assert before <= message.written_at <= time.time()
    assert (message.queue, message.body, message.exchange) == ("q", {"a": [1]}, "e")
    assert (message.headers, message.expires_s, message.at_most_once) == ({"h": True}, 5, False)


def test_files_are_in_the_order_of_their_times(tmp_path):
    paths = [put("q", {}, at=at, home=tmp_path) for at in (9.0, 1_800_000_000.5, 1_800_000_000.0)]
    assert sorted(paths) == [paths[0], paths[2], paths[1]]


def test_the_same_twice_is_two_without_a_mark_and_one_with_it(tmp_path):
    for _ in range(2):
        put("q", {}, home=tmp_path)
        put("q", {}, at=1.0, mark="run/1", home=tmp_path)
    assert len(list(outbox_folder(tmp_path).glob("*.json"))) == 3


def test_what_was_published_under_a_mark_is_not_put_again(tmp_path):
    path = put("q", {}, at=1.0, mark="run/1", home=tmp_path)
    published = path.parent / PUBLISHED
    published.mkdir()
    path.rename(published / path.name)
    put("q", {}, at=1.0, mark="run/1", home=tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("body", [[1], "text", None, {"nested": {"ü": "\N{SNOWMAN}"}}])
def test_any_json_may_be_said(body, tmp_path):
    assert json.loads(put("q", body, home=tmp_path).read_bytes())["body"] == body


def test_a_bridge_is_there_where_the_site_wants_one(tmp_path):
    assert not is_there(Settings(home=tmp_path))
    assert is_there(Settings(home=tmp_path, bridge=True))


@pytest.mark.parametrize("name", ["é" * 128, "a\0b", "\ud800"])
@pytest.mark.parametrize("where", ["queue", "exchange"])
def test_a_name_that_no_queue_or_exchange_can_have_is_refused_at_once(where, name, tmp_path):
    with pytest.raises(ValueError, match="no queue or exchange can be called"):
        put(**{"queue": "q", "body": {}, "home": tmp_path} | {where: name})
