"""`plaza recipe fill` and `plaza recipe merge`: what they print, and the one line that says what is wrong."""

import errno
import io
import json
import os
import sys

import pytest

from flows.cli import main
from flows.recipe.language.recipe import parse_recipe

RECIPE = {"1": {"queue": "{name}", "output": 2, "p": "{$REPLACE:info}"}, "2": {}, "start": [[1, "é {unknown}"]]}


@pytest.fixture
def files(tmp_path):
    """Make a recipe file and a parameter file."""
    recipe, parameters = tmp_path / "recipe.json", tmp_path / "parameters.json"
    recipe.write_text(json.dumps(RECIPE), encoding="utf-8")
    parameters.write_text(json.dumps({"name": "images", "info": {"x": [1]}}), encoding="utf-8")
    return recipe, parameters


@pytest.fixture
def plaza(monkeypatch, capsys):
    """Run `plaza recipe …` in this process; return exit status, output and complaint."""

    def run(*words, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["plaza", "recipe", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_fill_prints_the_filled_recipe(plaza, files):
    status, output, complaint = plaza("fill", files[0], "--parameters", files[1])
    assert (status, complaint) == (0, "")
    assert json.loads(output) == {
        "1": {"queue": "images", "output": [2], "p": {"x": [1]}},
        "2": {},
        "start": [[1, "é {unknown}"]],
    }
    assert output.startswith('{\n  "1": {\n    "queue"')


def test_standard_input_may_stand_for_either_file(plaza, files):
    recipe, parameters = files
    expected = plaza("fill", recipe, "--parameters", parameters)
    assert plaza("fill", "-", "--parameters", parameters, stdin=recipe.read_bytes()) == expected
    assert plaza("fill", recipe, "--parameters", "-", stdin=parameters.read_bytes()) == expected


def test_merge_prints_one_recipe_of_several(plaza, files):
    status, output, complaint = plaza("merge", files[0], files[0], files[0])
    assert (status, complaint) == (0, "")
    merged = parse_recipe(output)
    assert (list(merged.nodes), [node for node, _ in merged.start]) == ([1, 2, 3, 4, 5, 6], [1, 3, 5])
    assert merged.nodes[5]["output"] == [6]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file or directory"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "'utf-8' codec"),
        (b"[1]", "JSON object"),
        (b'{"1": {"output": 1}, "start": [[1, 0]]}', "node 1: cycle"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_wrong_recipe_is_one_line_with_its_name(plaza, files, tmp_path, content, complaint):
    wrong = tmp_path / "wrong.json"
    if content is not None:
        wrong.write_bytes(content)
    for words in (["fill", wrong, "--parameters", files[1]], ["merge", files[0], wrong], ["merge", wrong]):
        status, output, said = plaza(*words)
        assert (status, output, said.count("\n")) == (1, "", 1)
        assert said.startswith(f"plaza: {wrong}: ")
        assert complaint in said


def test_an_empty_recipe_adds_nothing_and_is_none_by_itself(plaza, files, tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    alone = plaza("merge", files[0])
    assert plaza("merge", files[0], empty) == plaza("merge", empty, files[0]) == alone
    for words in (["merge", empty], ["merge", empty, empty], ["fill", empty, "--parameters", files[1]]):
        status, _, said = plaza(*words)
        assert (status, said.count("\n")) == (1, 1)
        assert "No recipe defined" in said


def test_a_recipe_and_its_parameters_can_not_both_come_by_standard_input(plaza):
    status, printed, complaint = plaza("fill", "-", "--parameters", "-")
    assert (status, printed) == (1, "")
    assert "can't both be standard input" in complaint


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file or directory"),
        (b"", "not JSON"),
        (b"[]", "expected a JSON object of parameters, seen a list"),
        (b"5", "expected a JSON object of parameters, seen a int"),
        (b'{"a": NaN}', "nan is no JSON number"),
        (b'{"a": "\\ud800"}', "surrogate"),
    ],
)
def test_wrong_parameters_are_one_line_with_their_file_s_name(plaza, files, tmp_path, content, complaint):
    wrong = tmp_path / "wrong.json"
    if content is not None:
        wrong.write_bytes(content)
    status, output, said = plaza("fill", files[0], "--parameters", wrong)
    assert (status, output, said.count("\n")) == (1, "", 1)
    assert said.startswith(f"plaza: {wrong}: ")
    assert complaint in said


def test_what_can_not_be_filled_is_one_line_with_file_and_node(plaza, files, tmp_path):
    files[1].write_text('{"name": 5}')
    files[0].write_text('{"1": {"queue": "{name[x]}"}, "start": [[1, 0]]}')
    status, output, said = plaza("fill", files[0], "--parameters", files[1])
    assert (status, output) == (1, "")
    assert said == f"plaza: {files[0]}: node 1: placeholders in '{{name[x]}}' can't be filled: a int has no [x]\n"


def test_folders_and_unreadable_files_are_one_line(plaza, files, tmp_path, monkeypatch):
    assert plaza("merge", tmp_path) == (1, "", f"plaza: {tmp_path}: can't be read: is a folder, no file\n")

    def refuse(path, most):  # root, who may run the tests, may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("flows.recipe.language.files.read_regular", refuse)
    assert plaza("merge", files[0]) == (1, "", f"plaza: {files[0]}: can't be read: Permission denied\n")
