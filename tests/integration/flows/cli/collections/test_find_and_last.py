"""`plaza find` and `plaza last`: what a recipe would know, and where one finds it."""

import json
from datetime import datetime

import pytest
from ispyb import sqlalchemy as models
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from blocks.errors import PlazaError
from blocks.settings import get_settings
from flows.cli.collections.output import print_parameters
from flows.cli.main import app
from flows.recipe.run_record.folder import run_folder
from flows.recipe.run_record.manifest import Manifest
from tasks.ispyb_access.reading.reader import read_data_collection
from tests.support.ispyb_fixtures import every_database as database  # noqa: F401  # a fixture

DIRECTORY = "/dls/i03/data/2024/mx12345-1/lys/x1/"


@pytest.fixture
def url(engine):
    return engine.url.render_as_string(hide_password=False)


@pytest.fixture
def plaza(url, monkeypatch, tmp_path):
    """Run the command line on the test's ISPyB, and return what it prints; its errors are raised."""
    monkeypatch.setenv("PLAZA_ISPYB_URL", "sqlite:////nowhere/ispyb.sqlite")
    monkeypatch.setenv("PLAZA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    get_settings.cache_clear()
    address = tmp_path / "ispyb.url"
    address.write_text(url)
    address.chmod(0o600)

    def run(*words):
        done = CliRunner().invoke(app, [*map(str, words), "--ispyb", str(address)])
        if isinstance(done.exception, PlazaError):
            raise done.exception
        assert done.exit_code == 0, done.output
        assert done.stderr == ""
        return done.stdout

    yield run
    get_settings.cache_clear()


def test_json_is_what_recipes_get_and_nothing_else(plaza, engine, add_collection):
    dcid = add_collection()
    expected = read_data_collection(engine, dcid, "my-run").recipe_parameters()
    printed = plaza("find", dcid, "--json", "--guid", "my-run")
    assert json.loads(printed) == json.loads(json.dumps(expected))
    assert printed.count("\n") == 1
    assert json.loads(printed)["ispyb_dc_info"]["startTime"] == "2024-05-01T12:30:15"


def test_folders_of_a_run_that_is_none_say_so(plaza, add_collection):
    found = json.loads(plaza("find", add_collection(), "--json"))
    assert found["ispyb_results_directory"] == "/dls/i03/data/2024/mx12345-1/processed/lys/x1/lys_1/{guid}"


def test_job_is_found_with_its_collection(plaza, engine, add_collection):
    dcid = add_collection()
    with Session(engine) as session:
        session.add(
            row := models.ProcessingJob(dataCollectionId=dcid, recipe="x", recordTimestamp=datetime(2024, 5, 1))
        )
        session.commit()
        job = row.processingJobId
    found = json.loads(plaza("find", "-p", job, "--json"))
    assert (found["ispyb_dcid"], found["ispyb_process"]) == (dcid, job)
    assert found["ispyb_processing_job"]["recordTimestamp"] == "2024-05-01T00:00:00"
    other = add_collection()
    assert json.loads(plaza("find", other, "-p", job, "--json"))["ispyb_dcid"] == other


def test_listing_names_what_recipes_may_say(plaza, engine, add_collection, facility):
    with Session(engine) as session:
        session.get(models.BLSample, facility.sample).SMILES = "C[red]\x1b[31mC"
        session.commit()
    listing = plaza("find", add_collection())
    lines = listing.splitlines()
    assert "ispyb_beamline  i03" in lines
    assert "ispyb_dc_class" in lines
    assert "  rotation  True" in lines
    assert "ispyb_space_group  P41212" in lines
    assert "ispyb_unit_cell  57.8, 57.8, 150.2, 90.0, 90.0, 90.0" in lines
    assert "ispyb_reference_geometry  none" in lines
    assert "    sample_id  " + str(facility.sample) in lines
    assert any("C[red]" in line for line in lines)
    assert "\x1b" not in listing


def test_text_that_is_empty_is_not_shown_as_none(capsys):
    print_parameters({"ispyb_images": "", "ispyb_unit_cell": None, "ispyb_related_sweeps": []})
    assert capsys.readouterr().out.splitlines() == [
        'ispyb_images  ""',
        "ispyb_unit_cell  none",
        "ispyb_related_sweeps  none",
    ]


@pytest.mark.parametrize("name", ["lys_1_00017.cbf", "lys_1_#####.cbf", "lys_1.jpeg"])
def test_file_is_found(plaza, add_collection, name):
    dcid = add_collection()
    add_collection()
    assert json.loads(plaza("find", DIRECTORY + name, "--json"))["ispyb_dcid"] == dcid


@pytest.mark.parametrize("stored", ["{}", "{}/"])
@pytest.mark.parametrize("asked", ["{}", "{}/", "{}/../x1", "{}/lys_1_00001.cbf"])
def test_directory_is_found_however_it_is_written(plaza, add_collection, stored, asked):
    dcid = add_collection(imageDirectory=stored.format(DIRECTORY.rstrip("/")))
    assert json.loads(plaza("find", asked.format(DIRECTORY.rstrip("/")), "--json"))["ispyb_dcid"] == dcid


def test_relative_path_and_link_lead_to_the_collection(plaza, add_collection, tmp_path, monkeypatch):
    folder = tmp_path / "visit" / "x1"
    folder.mkdir(parents=True)
    (folder / "lys_1_00001.cbf").touch()
    (tmp_path / "link").symlink_to(folder)
    dcid = add_collection(imageDirectory=f"{folder}/")
    monkeypatch.chdir(folder)
    for path in ("lys_1_00001.cbf", ".", "../x1/lys_1_00001.cbf", tmp_path / "link", tmp_path / "link/lys_1_00001.cbf"):
        assert json.loads(plaza("find", path, "--json"))["ispyb_dcid"] == dcid


def test_collection_of_unknown_place_has_no_path(plaza, add_collection):
    add_collection(imageDirectory=None, fileTemplate=None)
    assert plaza("last", "i03").splitlines()[1].endswith("  -")


def test_several_collections_are_listed_the_latest_first(plaza, add_collection):
    dcids = [add_collection() for _ in range(3)]
    lines = plaza("find", DIRECTORY).splitlines()
    assert [int(line.split()[0]) for line in lines[1:4]] == dcids[::-1]
    assert lines[4] == "3 data collections, the latest first; `plaza find DCID` shows one of them"
    with pytest.raises(PlazaError, match=f"3 data collections are at {DIRECTORY}: say which one, of {dcids[2]}, "):
        plaza("find", DIRECTORY, "--json")


@pytest.mark.parametrize("path", ["/dls/nowhere/", DIRECTORY + "other_1_00001.cbf", "/", DIRECTORY + "deeper/"])
def test_path_of_no_collection_is_an_error(plaza, add_collection, path):
    add_collection()
    with pytest.raises(PlazaError, match=r"no data collection in .* expected a DataCollection\.imageDirectory"):
        plaza("find", path)


def test_run_shows_what_it_knew(plaza, tmp_path):
    folder = run_folder("0123abcd-run", tmp_path / "home")
    folder.path.mkdir(parents=True)
    of_ispyb = {"ispyb_of_the_caller": 1, "ispyb_dc_info": {"uuid": folder.recipe_run}, "ispyb_dcid": 5}
    known = {**of_ispyb, "guid": folder.recipe_run, "nproc": 3}
    Manifest("r", "r.json", "0", 5, {}, known, {}).write(folder)
    found = json.loads(plaza("find", "0123abcd", "--json"))
    assert found == of_ispyb
    assert list(found) == ["ispyb_dcid", "ispyb_dc_info", "ispyb_of_the_caller"]
    with pytest.raises(PlazaError, match="no recipe run 'ffff'"):
        plaza("find", "ffff")


def test_unknown_ones_are_an_error(plaza, engine):
    with pytest.raises(PlazaError, match=r"no data collection 4711"):
        plaza("find", 4711)
    with pytest.raises(PlazaError, match=r"no processing job 4712"):
        plaza("find", "-p", 4712)


@pytest.mark.parametrize("path", ["/dls/σ/x1", "/dls/i03/晶体 🧊/lys_1_00001.cbf", "/data/\udcff/x"])
def test_path_that_no_column_can_hold_is_unknown(plaza, engine, add_collection, path):
    add_collection()
    with pytest.raises(PlazaError, match=r"has no data collection in /d.*, nor one that the file belongs to"):
        plaza("find", path)
    with pytest.raises(PlazaError, match=r"has no session on 'σ'; it knows i03"):
        plaza("last", "σ")


@pytest.mark.parametrize("directory", ["/dls/µm 90°/", "/dls/Ångström/"])
def test_path_in_latin1_is_found(plaza, engine, add_collection, directory):
    dcid = add_collection(imageDirectory=directory)
    assert json.loads(plaza("find", directory, "--json"))["ispyb_dcid"] == dcid


def test_latest_collections_of_a_beamline(plaza, engine, add_collection, add_group, facility):
    with Session(engine) as session:
        proposal = session.get(models.BLSession, facility.session).proposalId
        session.add(other := models.BLSession(proposalId=proposal, beamLineName="i04", visit_number=2))
        session.add(models.BLSession(proposalId=proposal, beamLineName="i24", visit_number=3))
        session.commit()
        elsewhere = other.sessionId
    grid = add_collection(dataCollectionGroupId=add_group(experimentType="Mesh"), axisRange=0.0, numberOfImages=20)
    with Session(engine) as session:
        session.add(models.GridInfo(dataCollectionId=grid, steps_x=5, steps_y=4))
        session.commit()
    add_collection(SESSIONID=elsewhere)
    of_group = add_collection(SESSIONID=None, startTime=None, fileTemplate=None, runStatus="DataCollection \x1b[31m")
    last = add_collection()
    found = [json.loads(line) for line in plaza("last", "i03", "--json").splitlines()]
    assert [some["dcid"] for some in found] == [last, of_group, grid]
    assert found[2] == {
        "dcid": grid, "start_time": "2024-05-01T12:30:15", "directory": DIRECTORY, "template": "lys_1_#####.cbf",
        "first_image": 1, "images": 20, "experiment_type": "Mesh", "classes": ["grid"], "run_status": None,
    }  # fmt: skip
    assert len(plaza("last", "i03", "-n", 2, "--json").splitlines()) == 2
    table = plaza("last", "i03").splitlines()
    assert table[0].split() == ["dcid", "started", "class", "type", "images", "run", "status", "path"]
    assert table[3].split() == [
        str(grid),
        "2024-05-01",
        "12:30:15",
        "grid",
        "Mesh",
        "20",
        "-",
        DIRECTORY + "lys_1_#####.cbf",
    ]
    assert "\x1b" not in "".join(table)
    assert plaza("last", "i24") == "no data collections on i24 so far\n"
    with pytest.raises(PlazaError, match="no session on 'i99'; it knows i03, i04, i24"):
        plaza("last", "i99")


def test_something_has_to_be_named():
    done = CliRunner().invoke(app, ["find"])
    assert done.exit_code == 2
    assert "say what to find" in done.output
