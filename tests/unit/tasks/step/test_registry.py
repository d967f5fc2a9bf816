import subprocess
import sys

import pytest

from blocks.errors import UnknownStep
from tasks.step import registry
from tasks.step.registry import SERVICES, STEPS, known_queues, load_step, queue_of, site_steps

SHARED = {"ispyb_pia": "ispyb_connector"}  # one step, two queues: image statistics shall not delay the rest
HEAVY = ("dials", "dxtbx", "dask", "distributed", "sqlalchemy", "prefect", "h5py")


@pytest.mark.parametrize("queue", STEPS)
def test_every_queue_has_its_step(queue):
    step = load_step(queue)
    assert step.queue == SHARED.get(queue, queue)
    assert (step.message_function is None) != (step.stream_function is None)
    assert step.default_output is None or step.default_output in step.outputs


def test_every_service_label_names_a_queue():
    assert set(SERVICES.values()) <= set(known_queues())
    assert queue_of(1, {"service": "DLS Mimas Backlog"}) == "mimas.held"


def test_unknown_queue_names_the_known_ones():
    with pytest.raises(UnknownStep, match="filewatcher"):
        load_step("no.such.queue")


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        ({"queue": "tea"}, "node 3 asks for queue 'tea', which no step serves"),
        ({"service": "Tea"}, "node 3 asks for service 'Tea', which no step serves"),
        ({"queue": "tea", "service": "Images"}, "node 3 asks for queue 'tea' of service 'Images', which"),
        ({"parameters": {}}, "node 3 names neither a queue nor a service; known queues: archive"),
    ],
)
def test_a_node_that_no_step_serves_is_refused_by_what_it_names(node, complaint):
    with pytest.raises(UnknownStep) as refused:
        queue_of(3, node)
    assert str(refused.value).startswith(complaint)


SITE_MODULE = """
from tasks.step import StepParameters, message_step

@message_step(queue="site.greet", parameters=StepParameters)
def greet(parameters, message, context):
    return ()

no_step = 3
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a package with a module of steps and the given entry points."""

    def install(package="site_package", **entries):
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{queue} = {place}" for queue, place in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[plaza.steps]", *lines]))
        site_steps.cache_clear()

    (tmp_path / "site_greetings.py").write_text(SITE_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "site_greetings", raising=False)
    yield install
    site_steps.cache_clear()


def test_a_step_of_a_package_without_metadata_is_found(install, tmp_path):
    install(**{"site.greet": "site_greetings:greet", "images": "site_greetings:greet"})
    (tmp_path / "site_package-1.0.dist-info" / "METADATA").unlink()
    assert load_step("site.greet").name == "greet"
    assert "site.greet" not in registry.own_queues()


def test_a_step_of_the_site_is_found_by_its_queue(install):
    install(**{"site.greet": "site_greetings:greet"})
    assert queue_of(1, {"queue": "site.greet"}) == "site.greet"
    assert load_step("site.greet").name == "greet"
    assert "site.greet" in known_queues()
    with pytest.raises(UnknownStep, match=r"site\.greet"):
        load_step("site.gret")


def test_a_step_of_the_site_never_takes_the_place_of_another(install, caplog):
    install(mailnotification="site_greetings:greet", **{"site.greet": "site_greetings:greet"})
    install("another_package", **{"site.greet": "site_greetings:no_step"})
    assert load_step("mailnotification").queue == "mailnotification"
    assert len([queue for queue in known_queues() if queue == "site.greet"]) == 1
    assert "offers a step for the queue mailnotification, which tasks.mailer:send_mail serves already" in caplog.text
    assert "package offers a step for the queue site.greet" in caplog.text


def test_plaza_s_own_steps_that_are_entry_points_stay_too(install, caplog):
    install("a_package", mimas="site_greetings:greet", **{"mimas.held": "site_greetings:greet"})
    for queue in ("mimas", "mimas.held"):
        assert load_step(queue).queue == queue
        assert f"a_package offers a step for the queue {queue}, which flows.mimas" in caplog.text


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("no_such_module:step", "ModuleNotFoundError"),
        ("site_greetings:missing", "AttributeError"),
        ("site_greetings", "AttributeError"),
        ("site_greetings:no_step", "should be a step .* is of type int"),
    ],
)
def test_a_step_of_the_site_that_is_none_is_said_so(place, complaint, install):
    install(odd=place)
    assert queue_of(1, {"queue": "odd"}) == "odd"
    with pytest.raises(UnknownStep, match=complaint):
        load_step("odd")


def test_packages_are_not_searched_for_plaza_s_own_steps(monkeypatch):
    monkeypatch.setattr(registry, "site_steps", lambda: pytest.fail("searched"))
    for queue in STEPS:
        load_step(queue_of(1, {"queue": queue}))
    assert queue_of(1, {"service": "DLS Mailer"}) == "mailnotification"


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True).stdout


def test_importing_the_packages_stays_light():
    loaded = run_python("import sys, flows, tasks, tasks.step.registry, tasks.step.runner; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize("queue", ["archive.pattern", "mailnotification", "notify_gda", "reduce.xray_centering"])
def test_small_steps_need_no_heavy_library(queue):
    loaded = run_python(f"import sys, tasks.step.registry as r; r.load_step({queue!r}); print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []
