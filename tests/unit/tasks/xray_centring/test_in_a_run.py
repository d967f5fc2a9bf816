"""Grids whose images come late, or never: from the watcher to the centre."""

import pytest

from flows.recipe.run_record.resumption import repeat_from
from tasks.file_watcher.watching import watch_files
from tasks.step import Send, StepParameters, message_step
from tasks.xray_centring.centring import centre_crystal
from tests.support.grid_information import SNAKED_GRID
from tests.support.runs_taken_up import Run

GRID = SNAKED_GRID


@message_step(queue="analyse", parameters=StepParameters, outputs=("result",), default_output="result")
async def analyse(parameters, message, context):
    return [Send({"n_spots_total": 10, "file-number": message.payload["file-number"], "file-seen-at": 0})]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path, images):
    watch = {"pattern": f"{images}/a_%05d.cbf", "pattern-start": 1, "pattern-end": 6, "timeout": 0}
    centre = {"dcid": 17, "beamline": "i03", "output": str(tmp_path / "centre.json")}
    document = {
        1: {"queue": "filewatcher", "parameters": watch, "output": {"every": 2}},
        2: {"queue": "analyse", "output": 3},
        3: {"queue": "reduce.xray_centering", "parameters": centre, "gridinfo": GRID, "output": {"success": 4}},
        4: {"queue": "keep"},
        "start": [[1, []]],
    }
    return Run(tmp_path, document)


def collect(images, numbers):
    for number in numbers:
        (images / f"a_{number:05}.cbf").write_text("an image")


async def go(run):
    return await run.go(watch_files, analyse, centre_crystal)


@pytest.mark.parametrize(
    ("seen", "reason"), [(0, "no image of the grid came, of 6"), (4, "2 of 6 images didn't come: 5, 6")]
)
async def test_a_grid_whose_images_came_too_late_fails_and_is_centred_as_the_run_says(run, images, seen, reason):
    collect(images, range(1, seen + 1))
    state, message = await go(run)
    assert state == "Failed"
    assert f"data collection 17 isn't centred: {reason}" in message
    assert "what didn't come is looked for once more by `plaza resume run-1 --from 1`" in message
    collect(images, range(1, 7))
    assert (await go(run))[0] == "Failed"  # the watcher is done
    repeat_from(run.folder, 1, {}, run.letters)
    assert await go(run) == ("Completed", "4 steps done")
    [centre] = run.kept.payloads
    assert centre["status"] == "success"


async def test_a_grid_whose_row_was_wrong_is_centred_with_the_right_one(run, images):
    right = run.document[3]
    run.document[3] = {**right, "gridinfo": {**GRID, "steps_x": 0}}
    run.manifest = run.manifest.with_changes(3, {"gridinfo": {**GRID, "steps_x": 0}})
    run.manifest.write(run.folder)
    collect(images, range(1, 7))
    assert (await go(run))[0] == "Failed"
    [letter] = run.letters.all()
    assert (letter.others, "--param 'gridinfo={…}'" in letter.error) == (5, True)
    repeat_from(run.folder, 3, {"gridinfo": GRID}, run.letters)
    run.document = run.read_document()
    assert (await go(run))[0] == "Completed"
