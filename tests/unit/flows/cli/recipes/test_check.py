"""`plaza recipe check`, `show` and `schema`: what they print, and how they exit."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from blocks.settings import CHECKOUT
from flows.cli.main import app

RECIPE = CHECKOUT / "recipes" / "per-image-analysis-gridscan.json"
WRONG = {"1": {"queue": "filewatcher", "parameters": {"hdf5": "{where}"}, "output": {"evry": 2}}, "2": {}}


def plaza(*words, **options):
    return CliRunner().invoke(app, ["recipe", *map(str, words)], **options)


@pytest.fixture
def wrong(tmp_path):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(WRONG | {"start": [[1, []]]}))
    return file


def test_sound_recipes_pass_in_silence():
    done = plaza("check", *sorted((CHECKOUT / "recipes").glob("*.json")))
    assert (done.exit_code, done.output) == (0, "")


def test_findings_are_lines_of_file_node_and_what_was_expected_and_seen(wrong):
    done = plaza("check", RECIPE, wrong)
    assert done.exit_code == 1
    first, second, third = done.output.splitlines()
    assert first == (
        f"{wrong}: node 1: parameters.hdf5: unknown placeholder, expected a name that is provided, seen 'where'"
    )
    assert second.startswith(f"{wrong}: node 1: unknown output of watch_files, expected one of first, every")
    assert second.endswith("seen 'evry'; did you mean 'every'?")
    assert third.startswith(f"{wrong}: node 2: neither queue nor service")


def test_parameters_can_be_declared(wrong):
    assert "placeholder" not in plaza("check", wrong, "--parameter", "where").output
    assert "placeholder" in plaza("check", wrong, "--parameter", "there").output


def test_warnings_are_printed_and_do_not_fail(tmp_path):
    file = tmp_path / "doubtful.json"
    node = {"queue": "images", "parameters": {"image_command": "diffraction"}, "transport_delay": 3}
    file.write_text(json.dumps({"1": node, "start": [[1, {"file": "/dls/cm12345-1/a.cbf"}]]}))
    done = plaza("check", file)
    assert done.exit_code == 0
    assert f"{file}: node 1: warning: unknown key of a node" in done.output


def test_structure_alone_knows_no_steps(wrong, tmp_path):
    assert (plaza("check", "--structure", RECIPE, wrong).exit_code) == 0
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(WRONG | {"3": {}, "start": [[1, []]]}))
    missing = tmp_path / "missing.json"
    done = plaza("check", "--structure", wrong, broken, missing)
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        f"{broken}: node 3 can't be reached from 'start' or 'error'",
        f"{missing}: can't be read: No such file or directory",
        f"Errors found in the following recipes: {broken}, {missing}",
    ]


def test_structure_alone_imports_no_step(wrong):
    program = (
        "import sys; from flows.cli.main import app\n"
        f"try: app(['recipe', 'check', '--structure', {str(wrong)!r}], prog_name='plaza')\n"
        "except SystemExit as end: assert not end.code\n"
        "sys.stdout.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    modules = done.stdout.split()
    assert "flows.recipe.language.validation" in modules
    assert not {"tasks.step.registry", "tasks.mailer", "sqlalchemy", "prefect", "dask"} & set(modules)


def test_standard_input_is_checked():
    done = plaza("check", "-", input="{")
    assert done.exit_code == 1
    assert done.output.startswith("-: not JSON")


@pytest.mark.parametrize("name", ["per-image-analysis-gridscan", RECIPE])
def test_recipe_is_shown_by_name_or_file(name):
    done = plaza("show", name)
    assert done.exit_code == 0
    assert "success → 6 store_in_ispyb" in done.output
    assert "{ispyb_dcid}" in done.output


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz's program dot")
def test_recipe_is_drawn_into_a_file_or_to_standard_output(tmp_path):
    file = tmp_path / "recipe.svg"
    assert plaza("show", RECIPE, "--svg", file).exit_code == 0
    assert "<svg" in file.read_text()
    done = plaza("show", RECIPE, "--svg", "-")
    assert done.output == file.read_text()


def test_recipe_that_is_not_there_is_told_with_those_that_are():
    done = plaza("show", "no-such-recipe")
    assert done.exit_code == 1
    assert "archive-cbfs" in str(done.exception)
    assert "no-such-recipe" in str(done.exception)


def test_missing_graphviz_and_unwritable_files_are_told(tmp_path, monkeypatch):
    if shutil.which("dot"):
        assert "can't be written to" in str(plaza("show", RECIPE, "--svg", tmp_path / "no" / "x.svg").exception)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install the package graphviz" in str(plaza("show", RECIPE, "--svg", tmp_path / "x.svg").exception)
    assert not (tmp_path / "x.svg").exists()


def test_schema_is_printed_as_it_is_committed():
    assert plaza("schema").output == (CHECKOUT / "recipes" / "schema" / "recipe.json").read_text()


def test_hooks_are_commands_that_we_have():
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["plaza-recipes", "plaza-recipe-structure"]
    for hook in hooks:
        program, *words = hook["entry"].split()
        assert program == "plaza"
        assert CliRunner().invoke(app, [*words, str(RECIPE)]).exit_code == 0
