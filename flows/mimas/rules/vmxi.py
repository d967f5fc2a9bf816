"""What runs when on VMXi (i02-2), where crystals are measured in their plates: every collection at its end."""

from __future__ import annotations

from collections.abc import Iterator

from flows.mimas.decision import Rule
from flows.mimas.parameter_sets import CC_HALF, MANY_BLANK_IMAGES, ParameterSet, absorption, symmetry
from flows.mimas.rules.asking import job_at_once, recipes
from flows.mimas.rules.conditions import is_characterization, is_end, is_gridscan, is_rotation, is_vmxi
from flows.mimas.scenario import Invocation, ISPyBJobInvocation, Scenario


def serial_processing(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for a grid scan processed as a serial collection, at once: each image may show another crystal."""
    yield job_at_once(scenario, "autoprocessing-xia2-ssx-eiger", "xia2.ssx", symmetry(scenario), scenario.sweeps)


def fast_dp(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the quick pipeline, at once."""
    yield job_at_once(scenario, "autoprocessing-fast-dp-eiger", "fast_dp")


def pipelines(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for the full pipelines, which find the symmetry themselves; the preferred one starts at once."""
    dials_parameters = CC_HALF + MANY_BLANK_IMAGES + absorption(scenario)
    yield _pipeline(scenario, "xia2/DIALS", "autoprocessing-xia2-dials-eiger-vmxi", "xia2 dials", dials_parameters)
    yield _pipeline(scenario, "xia2/3dii", "autoprocessing-xia2-3dii-eiger", "xia2 3dii", CC_HALF)
    yield _pipeline(scenario, "autoPROC", "autoprocessing-autoPROC-eiger", "autoPROC", ())


def _pipeline(scenario: Scenario, pipeline: str, recipe: str, display: str, values: ParameterSet) -> ISPyBJobInvocation:
    autostart = scenario.preferred_processing == pipeline
    return ISPyBJobInvocation(scenario.dcid, autostart, recipe, display_name=display, parameters=values)


at_end = is_vmxi & is_end
is_processed = at_end & (is_rotation | is_characterization)

RULES: tuple[Rule, ...] = (
    Rule("VMXi files are complete", at_end, recipes("archive-nexus")),
    Rule("VMXi grid scan processing", at_end & is_gridscan, serial_processing),
    Rule("VMXi spot counts", at_end & is_gridscan, recipes("vmxi-spot-counts-per-image")),
    Rule("VMXi images end", is_processed, recipes("vmxi-per-image-analysis")),
    Rule("VMXi metadata for deposition", is_processed, recipes("processing-mmcif-gen")),
    Rule("VMXi preview", is_processed, recipes("generate-diffraction-preview")),
    Rule("VMXi quick processing", is_processed, fast_dp),
    Rule("VMXi processing pipelines", is_processed, pipelines),
)
