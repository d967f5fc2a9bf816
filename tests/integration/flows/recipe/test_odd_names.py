"""Images are watched, archived and previewed whatever they are called, by the recipes as they are."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from flows.recipe.language.files import read_text
from flows.recipe.language.recipe import parse_recipe
from flows.recipe.language.substitution import fill_recipe
from flows.recipe.parameters import recipe_parameters
from tasks.archiver import archive_pattern
from tasks.file_watcher import watch_files
from tasks.image_previews import read_request
from tasks.ispyb_access.reading.image_files import file_name
from tasks.step.runner import try_step
from tests.support.checkout import CHECKOUT

RECIPES = CHECKOUT / "recipes"
NAMES = [
    ("25% DMSO", "soak_1_####.cbf"),
    ("50%glycerol", "50%d_soak_1_####.cbf"),
    ("run%03d", "x_1_#.cbf"),
    ("100%%", "100%%_####.cbf"),
    ("{soak}{guid}", "{ispyb_visit}_####.cbf"),
    ("{{a}", "}_##.cbf"),
    ("a#1", "b#2_####.cbf"),
    (" a b. ", " .x_####.cbf"),
    ('it\'s "so" & <so>', "`$HOME`;*?[1]_####.cbf.gz"),
    ("Größe", "Gro\u0308ße_####.cbf"),
    ("a\\b", "c\\n_####.cbf"),
    ("new\nline\t", "new\nline_####.cbf"),
]


@pytest.fixture
def collect(tmp_path, add_collection):
    """A function that makes files of four images from 8 on, and returns them with their data collection."""

    def make(folder, template):
        directory = tmp_path / "i03" / "data" / "2026" / "mx12345-1" / folder
        directory.mkdir(parents=True)
        files = [directory / file_name(template, number) for number in range(8, 12)]
        for file in files:
            file.write_text("counts")
        dcid = add_collection(
            imageDirectory=f"{directory}/", fileTemplate=template, startImageNumber=8, numberOfImages=4
        )
        return dcid, [str(file) for file in files]

    return make


async def filled(recipe, dcid, resources):
    """Return the nodes of a recipe as it would run for a data collection."""
    path = RECIPES / f"{recipe}.json"
    known = await recipe_parameters(dcid, {}, "run-1", resources)
    return fill_recipe(parse_recipe(read_text(path)), json.loads(json.dumps(known))).nodes


@pytest.mark.parametrize(("folder", "template"), NAMES)
async def test_images_are_watched_archived_and_previewed(collect, resources, database, folder, template):
    if database == "mariadb" and "\u0308" in template:
        pytest.skip("the column of the public schema is Latin 1, which has no such character")
    dcid, files = collect(folder, template)
    nodes = await filled("archive-cbfs", dcid, resources)
    watcher = {**nodes[1], "output": {"every": 2, "finally": 3}}
    watched = await try_step(watch_files, watcher, [[]], resources)
    assert [send.payload.get("file") for send in watched.sent if send.output == "every"] == files
    archived = await try_step(archive_pattern, nodes[2], [[]], resources)
    assert archived.refused == []
    (drop,) = [send.payload for send in archived.sent]
    assert (drop["success"], drop["failed"]) == (4, 0)
    (dropfile,) = Path(files[0]).parents[1].glob("processed/**/archive/*.xml")
    archive = ET.fromstring(dropfile.read_bytes())
    assert [element.text for element in archive.iterfind(".//location")] == files
    preview = read_request(watched.sent[0].payload, {"image_command": "diffraction"})
    assert Path(preview.output).parent.name == folder
    assert Path(preview.output).name == Path(files[0]).name.removesuffix(".gz").removesuffix(".cbf") + ".jpeg"
