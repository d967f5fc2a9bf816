"""The package and the file of the how-to page do what it says, installed beside Plaza, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from blocks.settings import CHECKOUT
from flows.mimas.rules import load_rules

PAGE = CHECKOUT / "docs/how-to/mimas-rules.md"
EXAMPLE = CHECKOUT / "docs/how-to/mimas-rules-example"

ASK = """
import json, sys
from flows.mimas.scenarios.given_scenario import scenario_from_parameters
from flows.mimas.rules import rules_in_force

rules = rules_in_force()
asked = [rules.decide(scenario_from_parameters(each)[0]) for each in json.loads(sys.argv[1])]
print(json.dumps({
    "names": [rule.name for rule in rules.rules],
    "faults": rules.faults,
    "wanted": [[wanted.recipe for wanted in decision.invocations] for decision in asked],
}))
"""


@pytest.fixture
def installed(tmp_path):
    """A folder as pip leaves it when it has installed the package."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    (module,) = project["tool"]["setuptools"]["py-modules"]
    (tmp_path / f"{module}.py").write_bytes((EXAMPLE / f"{module}.py").read_bytes())
    name, version = project["project"]["name"], project["project"]["version"]
    info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = project["project"]["entry-points"]["plaza.mimas_rules"]
    lines = [f"{area} = {value}" for area, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[plaza.mimas_rules]", *lines]))
    return tmp_path


def ask(*scenarios: dict[str, str], folder: Path | None = None, file: Path | None = None) -> dict[str, list]:
    path = os.pathsep.join(map(str, filter(None, (folder, CHECKOUT))))
    environment = {**os.environ, "PYTHONPATH": path, "PLAZA_MIMAS_RULES": str(file or "")}
    if file is None:
        del environment["PLAZA_MIMAS_RULES"]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(scenarios)], capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout)


def scenario(beamline: str, visit: str, dc_class: str = "rotation", event: str = "end") -> dict[str, str]:
    return {
        "dcid": "1234",
        "event": event,
        "beamline": beamline,
        "visit": visit,
        "dc_class": dc_class,
        "detectorclass": "eiger",
    }


def test_the_package_adds_replaces_and_switches_off(installed):
    answer = ask(
        scenario("i99", "mx1-1"),
        scenario("i99", "cm1-1"),
        scenario("i03", "mx1-1"),
        scenario("i03", "cm1-1"),
        folder=installed,
    )
    assert answer["faults"] == []
    ours = [rule.name for rule in load_rules().rules if rule.name != "metadata for deposition"]
    assert answer["names"] == [*ours, "i99 files are complete", "i99 processing"]
    on_i99, on_i99_commissioning, on_i03, on_i03_commissioning = answer["wanted"]
    assert on_i99 == ["archive-nexus", "autoprocessing-xia2-dials-eiger"]
    assert on_i99_commissioning == ["archive-nexus"]
    assert on_i03[:4] == [
        "archive-nexus",
        "per-image-analysis-rotation-swmr",
        "processing-rlv-eiger",
        "generate-diffraction-preview",
    ]
    assert on_i03_commissioning == [name for name in on_i03 if name != "generate-diffraction-preview"]


def test_the_file_alone_is_enough():
    answer = ask(
        scenario("i24", "cm37123-1", "screening"),
        scenario("i24", "mx1-1", "screening"),
        scenario("i24", "mx1-1", "serial_jet"),
        file=EXAMPLE / "this_week.py",
    )
    assert answer["faults"] == []
    ordinary = [
        "archive-nexus",
        "per-image-analysis-rotation-swmr",
        "strategy-align-crystal",
        "generate-diffraction-preview",
    ]
    assert answer["wanted"] == [[*ordinary, "calibrate-detector"], ordinary, ["archive-nexus"]]


def test_both_together(installed):
    answer = ask(folder=installed, file=EXAMPLE / "this_week.py")
    assert answer["faults"] == []
    assert answer["names"][-3:] == ["i99 files are complete", "i99 processing", "calibration of i24"]


@pytest.mark.parametrize("name", ["i99_rules.py", "this_week.py"])
def test_the_page_shows_the_files(name):
    assert (EXAMPLE / name).read_text() in PAGE.read_text()


def test_the_page_shows_the_entry_point():
    shown = tomllib.loads(PAGE.read_text().split("```toml\n")[1].split("```")[0])
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    assert shown["project"]["entry-points"] == project["project"]["entry-points"]
