import subprocess
import sys

import pytest

from blocks.errors import UnknownStep
from tasks.registry import SERVICES, STEPS, load_step

SHARED = {"ispyb_pia": "ispyb_connector"}  # one step, two queues: image statistics shall not delay the rest
HEAVY = ("dials", "dxtbx", "dask", "distributed", "sqlalchemy", "prefect", "h5py")


@pytest.mark.parametrize("queue", STEPS)
def test_every_queue_has_its_step(queue):
    step = load_step(queue)
    assert step.queue == SHARED.get(queue, queue)
    assert (step.message_function is None) != (step.stream_function is None)
    assert step.default_output is None or step.default_output in step.outputs


def test_every_service_label_names_a_queue():
    assert set(SERVICES.values()) <= set(STEPS)


def test_unknown_queue_names_the_known_ones():
    with pytest.raises(UnknownStep, match="filewatcher"):
        load_step("no.such.queue")


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_importing_the_packages_stays_light():
    loaded = run_python("import sys, flows, tasks, tasks.registry, tasks.step_runner; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize("queue", ["archive.pattern", "mailnotification", "notify_gda", "reduce.xray_centering"])
def test_small_steps_need_no_heavy_library(queue):
    loaded = run_python(f"import sys, tasks.registry as r; r.load_step({queue!r}); print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []
