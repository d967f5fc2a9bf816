"""The example data collection by which recipes are checked."""

import json

import pytest

from tasks.ispyb_access.reading import rows
from tasks.ispyb_access.reading.example import example_parameters
from tasks.ispyb_access.reading.parameters import parameter_names

OPEN = {"ispyb_processing_parameters", "ispyb_reprocessing_parameters"}  # a job's own parameters have any names
EMPTY = {"ispyb_dcg_dcids"}  # it is alone in its group


def test_the_example_has_a_value_for_all_that_recipes_may_know():
    found = example_parameters()
    assert set(found) == set(parameter_names())
    assert {name for name, value in found.items() if value in ("", None, {}, [])} == OPEN | EMPTY
    json.dumps(found)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("ispyb_dc_info", rows.COLLECTION),
        ("ispyb_diffraction_plan", rows.PLAN),
        ("ispyb_protein_info", rows.PROTEIN),
        ("ispyb_processing_job", rows.JOB),
    ],
)
def test_rows_have_all_columns_with_values(name, table):
    row = example_parameters()[name]
    assert {column.name for column in table.columns} <= set(row)
    assert None not in row.values()


def test_the_example_is_a_grid_scan():
    info = example_parameters()["ispyb_dc_info"]
    assert {column.name for column in rows.GRID.columns} == set(info["gridinfo"])
    assert info["uuid"]
