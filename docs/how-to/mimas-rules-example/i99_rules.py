"""What Mimas runs for i99, where proteins are measured on an Eiger, and what else our site has its own way."""

from collections.abc import Iterator

from flows.mimas.decision import Rule
from flows.mimas.parameter_sets import CC_HALF, absorption, symmetry_variants
from flows.mimas.predicates import beamline_is, visit_begins_with
from flows.mimas.rules.asking import job_at_once, recipes
from flows.mimas.rules.conditions import is_eiger, is_end, is_mx, is_rotation
from flows.mimas.scenario import Invocation, Scenario

is_i99 = beamline_is("i99")
is_commissioning = visit_begins_with("cm", "nr")


def process(scenario: Scenario) -> Iterator[Invocation]:
    """Ask for xia2 with DIALS at once, without and with the known symmetry."""
    for group_and_cell in symmetry_variants(scenario):
        parameters = CC_HALF + group_and_cell + absorption(scenario)
        yield job_at_once(scenario, "autoprocessing-xia2-dials-eiger", "xia2 dials", parameters)


RULES = (
    # Two more
    Rule("i99 files are complete", is_i99 & is_end & is_eiger, recipes("archive-nexus")),
    Rule("i99 processing", is_i99 & is_end & is_eiger & is_rotation & ~is_commissioning, process),
    # Plaza has a rule of this name: this one takes its place
    Rule("preview", is_mx & is_end & is_rotation & ~is_commissioning, recipes("generate-diffraction-preview")),
)

SWITCHED_OFF = ("metadata for deposition",)
