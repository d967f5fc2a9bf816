"""The worker's end of the fork server."""

from __future__ import annotations

import pytest

from blocks.errors import ConfigurationError
from flows.warm_pool.forker import Forker


async def test_module_that_is_missing_is_named(tmp_path):
    forker = Forker(["no_such_module"], tmp_path / "log")
    with pytest.raises(ConfigurationError, match="No module named 'no_such_module'"):
        await forker.start()
    assert forker.pid is None


def test_full_log_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.warm_pool.forker._LOG_LIMIT", 3)
    log = tmp_path / "logs" / "flow-runs.log"
    forker = Forker([], log)
    forker._rotate_log()
    log.write_text("abc")
    forker._rotate_log()
    assert log.exists()
    log.write_text("abcd")
    forker._rotate_log()
    assert not log.exists()
    assert log.with_name("flow-runs.log.1").read_text() == "abcd"
