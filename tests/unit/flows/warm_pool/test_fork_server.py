"""What the fork server refuses to preload; in processes of their own, since it looks at the whole process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flows.warm_pool.forker import _ONE_THREAD


def _preload(folder, source):
    (folder / "to_preload.py").write_text(source)
    code = "from flows.warm_pool.fork_server import preload; preload(['to_preload']); print('fine')"
    return subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )


def test_plain_module_is_preloaded(tmp_path):
    assert _preload(tmp_path, "answer = 42").stdout == "fine\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()", "1 threads"),
        ("import sys, types\nsys.modules['h5py'] = types.ModuleType('h5py')", "brought in h5py"),
        ("import no_such_module", "No module named 'no_such_module'"),
    ],
)
def test_unfit_module_is_refused(tmp_path, source, reason):
    result = _preload(tmp_path, source)
    assert result.returncode == 1
    assert reason in result.stderr


def test_what_mimas_decides_by_is_preloaded():
    code = (
        "import sys; from flows.warm_pool.fork_server import preload; from flows.warm_pool.forker import FLOW_MODULES\n"
        "preload(FLOW_MODULES); before = set(sys.modules)\n"
        "from flows.mimas.rules import own_rules; from flows.mimas.scenario import UnitCell\n"
        "own_rules(); UnitCell(50, 60, 70, 90, 90, 90); print(sorted(set(sys.modules) - before))"
    )
    environment = {**os.environ, **_ONE_THREAD}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
