"""`plaza go`: the messages that `zocalo.go` sends for the same arguments, and what asks for nothing."""

import json

import pytest
from typer.testing import CliRunner

from blocks.settings import get_settings
from flows.cli.main import app
from flows.cli.requests.building import own_headers
from flows.events.drop_folder.folder import DropFolder

NODE = {"queue": "images", "parameters": {"image_command": "diffraction", "file": "{file}"}}
RECIPE = {"1": NODE, "start": [[1, []]]}


@pytest.fixture(autouse=True)
def no_server(home, monkeypatch):
    folder = home / "recipes"
    folder.mkdir()
    for name in "abdx":
        (folder / f"{name}.json").write_text(json.dumps(RECIPE))
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(folder))
    monkeypatch.setattr("flows.events.submitting.has_prefect_api", lambda: False)
    monkeypatch.setattr("flows.events.sending.has_prefect_api", lambda: False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(home / "profiles.toml"))  # what a command sets goes with it


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(RECIPE))
    return str(path)


def plaza(*words):
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-r mimas -s event=end 1234", {"recipes": ["mimas"], "parameters": {"event": "end", "ispyb_dcid": 1234}}),
        ("-r a -r b 1234", {"recipes": ["a", "b"], "parameters": {"ispyb_dcid": 1234}}),
        ("1234 -r a", {"recipes": ["a"], "parameters": {"ispyb_dcid": 1234}}),
        ("-r a -s a=b=c -s k= 1", {"recipes": ["a"], "parameters": {"a": "b=c", "k": "", "ispyb_dcid": 1}}),
        ("-r a -s x=1 -s x=2 1", {"recipes": ["a"], "parameters": {"x": "2", "ispyb_dcid": 1}}),
        ("-p 42", {"recipes": [], "parameters": {"ispyb_process": 42}}),
        ("-p -s guid=x 42", {"recipes": [], "parameters": {"guid": "x", "ispyb_process": 42}}),
        ("-r x -p 42", {"recipes": ["x"], "parameters": {"ispyb_process": 42}}),
        ("-n -r x -s foo=1", {"recipes": ["x"], "parameters": {"foo": "1"}}),
        ("-r d -a 77 1234", {"recipes": ["d"], "parameters": {"ispyb_dcid": 1234, "ispyb_autoprocscalingid": 77}}),
        ("-f RECIPE 1234", {"recipes": [], "parameters": {"ispyb_dcid": 1234}, "custom_recipe": RECIPE}),
        ("-f RECIPE -r a -n", {"recipes": ["a"], "parameters": {}, "custom_recipe": RECIPE}),
    ],
)
def test_a_dry_run_prints_what_zocalo_go_sends_and_sends_nothing(words, message, recipe, home):
    done = plaza("go", "-d", *words.replace("RECIPE", recipe).split())
    assert json.loads(done.stdout) == {"headers": own_headers(), "message": message}
    assert done.exit_code == 0
    assert not (home / "events").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("1234", "name a recipe with -r"),
        ("-r a", "no id of a data collection"),
        ("-r a 1 2", "expected the id of one data collection, seen 2"),
        ("-r a 0", "'0' is no id"),
        ("-r a abc", "'abc' is no id"),
        ("-r a -- -5", "'-5' is no id"),
        ("-r a 4294967296", "from 1 to 4294967295"),
        ("-r a 99999999999999999999", "is no id"),
        ("-r a -s bad 1", "expected KEY=VALUE, seen 'bad'"),
        ("-r a -s =v 1", "expected KEY=VALUE"),
        ("-n", "name a recipe with -r"),
        ("-n -r a 1", "-n says that there's no data collection"),
        ("-n -p", "-n and -p"),
        ("-n -p 42", "-n and -p"),
        ("-p", "no id of a job"),
        ("-p abc", "'abc' is no id of a processing job"),
        ("-r a -a x 1", "-a: expected an id"),
        ("-r mimas 1", "needs an event"),
        ("-r mimas -s event=pause 1", "pause"),
        ("-r ../a 1", "no recipe can be called"),
        ("-f EMPTY 1", "No recipe defined"),
        ("-f BROKEN 1", "not JSON"),
        ("-f /nonesuch.json 1", "nonesuch"),
        ("-f UNFILLED 1", "'{x'"),
    ],
)
@pytest.mark.parametrize("way", ["", "--drop", "-d"])
def test_what_asks_for_nothing_is_refused_and_nothing_is_kept(words, complaint, way, tmp_path, home):
    (tmp_path / "empty").write_text("{}")
    (tmp_path / "broken").write_text("{")
    unfilled = {**NODE, "parameters": {"image_command": "{x"}}
    (tmp_path / "unfilled").write_text(json.dumps({"1": unfilled, "start": [[1, []]]}))
    for name in ("empty", "broken", "unfilled"):
        words = words.replace(name.upper(), str(tmp_path / name))
    done = plaza("go", *way.split(), *words.split())
    assert done.exit_code == 1
    assert complaint in str(done.exception)
    assert DropFolder.of(home).files() == []


def test_a_queue_that_nobody_serves_is_told_and_its_recipe_sent(tmp_path, home):
    (tmp_path / "unserved").write_text(json.dumps({"1": {"queue": "no.such.queue"}, "start": [[1, []]]}))
    done = plaza("go", "-f", str(tmp_path / "unserved"), "1")
    assert "the run will fail: node 1 asks for queue 'no.such.queue', which no step serves" in done.stderr
    assert (done.exit_code, len(DropFolder.of(home).files())) == (0, 1)


@pytest.mark.parametrize("words", ["-r a -s guid=mine 1", "--drop -r a -s guid=mine 1"])
def test_without_a_server_there_is_a_drop_file_which_is_named(words, home):
    done = plaza("go", *words.split())
    (path,) = DropFolder.of(home).files()
    assert (done.exit_code, done.stdout) == (0, f"kept until the site takes it: {path}\n")
    dropped = json.loads(path.read_text())
    assert dropped["headers"] == own_headers()
    assert dropped["message"] == {"recipes": ["a"], "parameters": {"guid": "mine", "ispyb_dcid": 1}}


def test_a_dry_run_tells_of_a_recipe_that_is_not_there(home, monkeypatch, tmp_path):
    for name in "nosuch", "ab":
        done = plaza("go", "-d", "-r", "a", "-r", name, "1")
        assert (done.exit_code, done.stdout) == (1, "")
        assert f"the recipe {name!r} is unknown: there is no file {home / 'recipes'}" in str(done.exception)
    assert "Near it: " in str(done.exception)
    monkeypatch.setenv("PLAZA_RECIPE_DIRECTORY", str(tmp_path / "elsewhere"))  # on another host
    get_settings.cache_clear()
    assert plaza("go", "-d", "-r", "nosuch", "1").exit_code == 0


def test_programs_are_told_in_json(home):
    done = plaza("go", "-r", "a", "1", "--json")
    (path,) = DropFolder.of(home).files()
    assert json.loads(done.stdout) == {"runs": [], "kept": str(path)}


def test_pickup_keeps_what_waits_while_there_is_no_server(home):
    assert plaza("pickup").stdout == f"Nothing waits in {home / 'events'}.\n"
    plaza("go", "-r", "a", "1")
    done = plaza("pickup", "-w", "1", "-d", "0")
    assert (done.exit_code, len(DropFolder.of(home).files())) == (0, 1)
    assert "1 file(s) still wait" in done.stdout
    assert "plaza up" in done.stdout


def test_who_asks_is_named_as_zocalos_clients_do(monkeypatch):
    monkeypatch.setenv("ZOCALO_GO_USER", "gda2")
    monkeypatch.setenv("ZOCALO_GO_HOSTNAME", "i03-control")
    assert own_headers() == {"zocalo.go.user": "gda2", "zocalo.go.host": "i03-control"}
