"""What the bridge says of itself, and whether that still counts."""

import os
import time

from flows.events.bridge import state as state_module
from flows.events.bridge.state import FILE, Tally, read_state


def test_a_state_is_read_as_it_was_written(tmp_path):
    tally = Tally(tmp_path, broker="mq:1")
    tally.note_connection()
    tally.note_error("the broker is away")
    tally.taken = 3
    tally.write()
    state = read_state(tmp_path)
    assert state is not None
    assert (state.broker, state.taken, state.last_error) == ("mq:1", 3, "the broker is away")
    assert abs((state.connected_since or 0) - time.time()) < 30
    assert state.is_of(os.getpid())
    assert not state.is_of(1)


def test_an_old_state_says_nothing(tmp_path, monkeypatch):
    Tally(tmp_path).write()
    monkeypatch.setattr(state_module, "STALE_S", -1.0)
    state = read_state(tmp_path)
    assert state is not None
    assert not state.is_of(os.getpid())


def test_a_file_that_can_not_be_read_is_none(tmp_path):
    assert read_state(tmp_path) is None
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text('{"pid": "x"}')
    assert read_state(tmp_path) is None


def test_a_home_that_can_not_be_written_keeps_nobody_from_working(tmp_path, caplog):
    (tmp_path / "bridge").touch()
    tally = Tally(tmp_path)
    for _ in range(3):
        tally.write()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
