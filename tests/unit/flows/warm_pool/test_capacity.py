"""How many runs there's room for: by the least of the limits on memory."""

from __future__ import annotations

import psutil
import pytest

from blocks.settings import Settings
from flows.warm_pool.capacity import memory_limit, site_limits

MACHINE = psutil.virtual_memory().total
GIB = 2**30


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("", {}, MACHINE),
        ("0::/\n", {"memory.max": "max"}, MACHINE),
        ("0::/\n", {"memory.max": f"{GIB}\n"}, GIB),
        ("0::/site/worker\n", {"site/worker/memory.max": "max\n", "site/memory.max": f"{GIB}\n"}, GIB),
        ("0::/../../elsewhere\n", {}, MACHINE),
        ("4:cpu,memory:/docker/1\n", {"memory/memory.limit_in_bytes": f"{GIB}"}, GIB),
        ("4:memory:/site\n", {"memory/site/memory.limit_in_bytes": f"{GIB}"}, GIB),
        ("4:memory:/\n0::/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
    ],
)
def test_memory_limit(tmp_path, own, files, limit):
    (tmp_path / "cgroup").write_text(own)
    for name, content in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    assert memory_limit(tmp_path / "cgroup", tmp_path / "groups") == limit


def test_this_machine_has_a_limit():
    assert 0 < memory_limit() <= MACHINE


def test_a_setting_says_how_many_runs_else_the_memory():
    assert site_limits(Settings(runs_at_once=9)).runs == 9
    assert site_limits(Settings()).runs == max(2, int(memory_limit() * 0.5 / 80e6))
