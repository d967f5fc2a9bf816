"""A run is called as its message says, whatever that is, and found by it."""

import time
from uuid import uuid4

import pytest

from blocks.errors import UnknownRecipeRun
from flows.recipe.run_record.folder import find_run, runs_named
from flows.recipe.run_record.recipe_ids import clean, note_recipe_id, recipe_id_of

RUN = "6b1f2c3d-0000-4000-8000-000000000001"
OTHER = "7c2f2c3d-0000-4000-8000-000000000002"
UUID_GUID = "0d9a7f6e-1234-4321-9999-abcdefabcdef"
STRANGE = (
    "../../etc/passwd",
    "a/b~c.d",
    "nul\0byte",
    "günther-42-ü",
    "日本語",
    "half \ud800 character",
    "x" * 10_000,
    "{guid}",
    "*?[",
    "..",
    "~",
    "line\nend\x1b[31m",
)


@pytest.fixture
def home(tmp_path):
    for run in (RUN, OTHER):
        (tmp_path / "recipe-runs" / run).mkdir(parents=True)
    return tmp_path


def noted(guid, home, run=RUN):
    recipe_id = recipe_id_of({"guid": guid}, run)
    note_recipe_id(recipe_id, run, home)
    return recipe_id


@pytest.mark.parametrize("parameters", [{}, {"guid": None}, {"guid": ""}, {"guid": True}, {"guid": {}}, {"guid": [1]}])
def test_without_a_guid_it_is_the_flow_runs_id(parameters, home):
    recipe_id = recipe_id_of(parameters, RUN)
    note_recipe_id(recipe_id, RUN, home)
    assert (recipe_id.text, recipe_id.name, recipe_id.given) == (RUN, RUN, None)
    assert not (home / "recipe-ids").exists()


@pytest.mark.parametrize(
    ("guid", "text", "name"),
    [
        (UUID_GUID, UUID_GUID, UUID_GUID),
        (1234, "1234", "1234"),
        ("a/b c", "a/b c", "abc"),
        ("../../abc", "../../abc", "abc"),
        ("tab\there", "tab here", "tabhere"),
        ("ä-b-ö", "ä-b-ö", "-b-"),
        ("x", "x", RUN),
    ],
)
def test_text_is_as_given_and_paths_have_letters_digits_and_hyphens(guid, text, name):
    recipe_id = recipe_id_of({"guid": guid}, RUN)
    assert (recipe_id.text, recipe_id.name) == (text, name)


def test_folder_by_the_flow_run_is_warned_of(home, caplog):
    noted("/..", home)
    assert "fewer than 3" in caplog.text
    assert RUN in caplog.text


@pytest.mark.parametrize("guid", STRANGE)
def test_any_guid_finds_its_run_and_stays_in_its_folder(guid, home):
    before = {path for path in home.rglob("*") if "recipe-ids" not in path.parts}
    recipe_id = noted(guid, home)
    assert recipe_id.text.isprintable()
    assert len(recipe_id.text) < 300
    assert len(recipe_id.name) <= 100
    assert find_run(guid, home).recipe_run == RUN
    assert {path for path in home.rglob("*") if "recipe-ids" not in path.parts} == before


def test_long_guids_that_start_alike_have_folders_of_their_own():
    assert clean("x" * 5000 + "1") != clean("x" * 5000 + "2")


@pytest.mark.parametrize("name", [UUID_GUID, UUID_GUID[:8], RUN, RUN[:6]])
def test_run_is_found_by_either_id_or_its_start(name, home):
    noted(UUID_GUID, home)
    assert find_run(name, home).recipe_run == RUN


@pytest.mark.parametrize("name", ["visit/run", "visit/", "visitrun-1"])
def test_guid_that_is_not_clean_is_found_by_its_start_and_as_paths_have_it(name, home):
    noted("visit/run-1", home)
    assert find_run(name, home).recipe_run == RUN


def test_several_runs_of_one_guid_are_told(home):
    for run in (RUN, OTHER):
        noted(UUID_GUID, home, run)
    with pytest.raises(UnknownRecipeRun, match=f"2 recipe runs.*{RUN}, {OTHER}: say which"):
        find_run(UUID_GUID, home)
    assert [path.name for path in runs_named(OTHER, home)] == [OTHER]


def test_whole_guid_counts_before_one_that_starts_so(home):
    noted("abc", home)
    noted("abc-2", home, OTHER)
    assert find_run("abc", home).recipe_run == RUN
    assert find_run("abc-", home).recipe_run == OTHER


def test_runs_whose_record_is_gone_are_not_found(home):
    noted(UUID_GUID, home, run=str(uuid4()))
    assert runs_named(UUID_GUID, home) == []


def test_run_that_cannot_be_noted_runs_all_the_same(home, caplog):
    (home / "recipe-ids").write_text("in the way")
    noted(UUID_GUID, home)
    assert "can't be written" in caplog.text
    assert runs_named(UUID_GUID, home) == []


def test_look_up_among_ten_thousand_is_quick(home):
    folder = home / "recipe-ids"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"{number:08d}-guid.0123456789abcdef~{uuid4()}").touch()
    noted(UUID_GUID, home)
    began = time.process_time()
    assert find_run(UUID_GUID, home).recipe_run == RUN
    assert time.process_time() - began < 0.5  # some 10 ms; a look into each file would take many times that
