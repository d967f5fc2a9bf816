"""A kernel that is wrong is found out by DIALS within as many images as one of which is checked.

The step and its DIALS processes are the real ones; a constant of the kernel is another.
"""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from blocks.settings import Settings, get_settings
from flows.cli.main import app
from flows.recipe.run_record.history import read_history
from flows.recipe.run_record.resumption import repeat_from
from flows.resources import SiteResources
from flows.site.health import site_status
from tasks.diffraction import worker
from tasks.diffraction.dials_checks.differences import Differences
from tasks.diffraction.dials_processes.child_pool import PROGRAM, ChildPool
from tasks.diffraction.requests import AnalysisParameters, ImageRequest
from tasks.per_image_analysis import analyse_images, make_result
from tests.support import wrong_kernel
from tests.support.image_files import make_cbf
from tests.support.runs_taken_up import Run

pytestmark = pytest.mark.dials

IMAGES, ONE_IN = 24, 8
DOCUMENT = {1: {"queue": "per_image_analysis", "output": 2}, 2: {"queue": "keep"}}
WRONG = (wrong_kernel.__file__,)


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("PLAZA_HOME", str(home))
    get_settings.cache_clear()
    yield home
    get_settings.cache_clear()


@pytest.fixture
def children(monkeypatch):
    """Have DIALS processes of another program."""
    pools = []

    def use(program):
        pools.append(ChildPool(program))
        monkeypatch.setattr(worker, "CHILDREN", pools[-1])

    yield use
    for pool in pools:
        pool.close()


def payloads(files):
    return [{"file": files[number % len(files)], "file-number": number + 1} for number in range(IMAGES)]


@pytest.fixture(scope="module")
def rows_by_dials(pictures):
    """What DIALS says of each image."""
    options = AnalysisParameters().options
    pool = ChildPool()
    requests = [ImageRequest(file, options, by_dials="it's the judge") for file in pictures.rotation_cbfs]
    statistics = [outcome.value.statistics for outcome in pool.meet(requests)]
    pool.close()
    return {
        payload["file-number"]: make_result(payload, statistics[(payload["file-number"] - 1) % 6])
        for payload in payloads(pictures.rotation_cbfs)
    }


@pytest.fixture
def go(home, pictures, tmp_path):
    """Bring a run to its end; return it, what its end says, and the rows that came of it by the images' numbers."""

    async def go(one_in=ONE_IN, nodes=(1,), files=None):
        settings = Settings(home=home, dask_scheduler=None, analysis_workers=1, spots_checked_one_in=one_in)
        start = [
            [node, {**payload, "file-node": node} if len(nodes) > 1 else payload]
            for payload in payloads(files or pictures.rotation_cbfs)
            for node in nodes
        ]
        document = {**DOCUMENT, **dict.fromkeys(nodes, DOCUMENT[1]), "start": start}
        async with SiteResources(settings) as resources:
            run = Run(tmp_path, document, resources)
            state, message = await run.go(analyse_images)
        assert state == "Completed", message
        return run, message, {row.get("file-node", 0) + row["file-number"]: row for row in run.kept.payloads}

    return go


async def test_a_wrong_kernel_is_caught_and_all_that_follows_is_dials_s(go, children, rows_by_dials, home, caplog):
    children(WRONG)
    run, message, rows = await go()

    assert sorted(rows) == list(range(1, IMAGES + 1))
    wrong = [number for number, row in rows.items() if row != rows_by_dials[number]]
    assert 0 < len(wrong) < ONE_IN
    [found] = Differences(home).open()
    image = int(next(number for number, row in rows.items() if row["file"] == found.image and number <= ONE_IN))
    assert image not in wrong
    assert found.own_way != found.dials
    assert (found.recipe_run, found.node, found.may_be_wrong) == ("run-1", 1, {1: len(wrong)} if wrong else {})

    notes = read_history(run.folder).progress[1].notes
    lines, checked = notes.lines(), notes.counts()["images checked against DIALS"]
    assert 1 <= checked <= IMAGES / ONE_IN  # some were on their way
    assert lines[0] == f"{checked} of {checked} checked images differed from DIALS"
    assert f"{len(wrong)} of {IMAGES} images were done before that" in lines[1]
    assert "`plaza resume run-1 --from 1` has DIALS do them" in lines[1]
    by_dials = IMAGES - len(wrong) - checked
    assert (
        f"{by_dials} of {IMAGES} images by DIALS: the kernel's numbers differed from DIALS's on {found.image}" in lines
    )
    assert "checked images differed from DIALS" in message
    said, *_ = [record.getMessage() for record in caplog.records if "spots differ from DIALS's" in record.getMessage()]
    assert said.startswith(f"{found.image}: ")
    assert found.what_differs.split(", and ")[0] in said


async def test_a_run_that_is_repeated_has_dials_do_all(go, children, rows_by_dials, home):
    children(WRONG)
    run, _, _ = await go()
    assert Differences(home).of_run("run-1").may_be_wrong[1] > 0
    repeat_from(run.folder, 1, {}, run.letters)
    run, _, rows = await go()
    assert rows == rows_by_dials
    assert Differences(home).of_run("run-1").may_be_wrong == {}
    assert [note.count for note in run.progress[1].notes] == [IMAGES, IMAGES]


@pytest.mark.parametrize(("first", "end"), [(0, 2), (16, IMAGES)])
async def test_a_wrong_kernel_is_found_where_the_image_to_be_checked_is_blank(
    go, children, rows_by_dials, home, pictures, tmp_path, first, end
):
    children(WRONG)
    blank = tmp_path / "blank.cbf"
    blank.write_bytes(make_cbf())
    files = [pictures.rotation_cbfs[at % 6] if first <= at < end else str(blank) for at in range(IMAGES)]
    run, message, rows = await go(IMAGES, files=files)
    assert sorted(rows) == list(range(1, IMAGES + 1))
    assert "checked images differed from DIALS" in message
    assert "checked images had no spots" in "; ".join(run.progress[1].notes.lines())
    [found] = Differences(home).open()
    wrong = [at for at in range(first, end) if rows[at + 1] != rows_by_dials[at + 1]]
    if first == 0:  # it's found at the end
        assert wrong == [0, 1]
    assert found.may_be_wrong[1] >= len(wrong)


async def test_all_nodes_of_the_run_go_on_by_dials(go, children, rows_by_dials, home):
    children(WRONG)
    run, _, rows = await go(nodes=(100, 200))
    assert len(rows) == 2 * IMAGES
    [found] = Differences(home).all()
    for node in (100, 200):
        mine = [row for row in rows.values() if row["file-node"] == node]
        wrong = sum(row != {**rows_by_dials[row["file-number"]], "file-node": node} for row in mine)
        assert found.may_be_wrong.get(node, 0) == wrong
        notes = run.progress[node].notes.lines()
        assert (f"`plaza resume run-1 --from {node}`" in "; ".join(notes)) == (wrong > 0)
    assert sum(found.may_be_wrong.values()) < 2 * ONE_IN


async def test_status_tells_of_it_until_somebody_takes_note(go, children, home):
    children(WRONG)
    await go()
    [problem] = [line for line in site_status.status().problems if "weren't DIALS's" in line]
    assert "`plaza resume run-1 --from 1`" in problem
    assert "and 7 more)" in problem
    shown = CliRunner().invoke(app, ["status", "--json"])
    assert shown.exit_code == 1
    [found] = json.loads(shown.output)["spots_not_as_dials"]
    assert found["recipe_run"] == "run-1"
    assert found["own_way"]["n_spots_total"] != found["dials"]["n_spots_total"]
    assert CliRunner().invoke(app, ["status", "--acknowledge", "run"]).exit_code == 0
    assert not [line for line in site_status.status().problems if "weren't DIALS's" in line]


async def test_each_image_is_dials_s_where_all_are_checked(go, children, rows_by_dials):
    children(WRONG)
    assert (await go(one_in=1))[2] == rows_by_dials


@pytest.mark.parametrize("one_in", [0, 1, ONE_IN])
async def test_the_right_kernel_is_not_complained_of(go, children, rows_by_dials, home, one_in):
    children(PROGRAM)
    run, _, rows = await go(one_in=one_in)
    assert rows == rows_by_dials
    checked = {0: 0, 1: IMAGES, ONE_IN: IMAGES // ONE_IN}[one_in]
    assert run.progress[1].notes.counts().get("images checked against DIALS", 0) == checked
    assert run.progress[1].notes.warnings() == []
    assert list(Differences(home).all()) == []
