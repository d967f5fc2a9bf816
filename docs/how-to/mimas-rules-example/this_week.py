"""For the week in which i24's detector is calibrated."""

from flows.mimas.decision import Rule
from flows.mimas.predicates import visit_begins_with
from flows.mimas.rules.asking import recipes
from flows.mimas.rules.conditions import is_end, is_i24, is_screening

RULES = (
    Rule(
        "calibration of i24",
        is_i24 & is_end & is_screening & visit_begins_with("cm37"),
        recipes("calibrate-detector"),
    ),
)

SWITCHED_OFF = ("screening strategy", "serial Eiger processing")
