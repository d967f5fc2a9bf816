"""The example data collection by which recipes are checked."""

import json

import pytest

from tasks.ispyb_access import reader
from tasks.ispyb_access.example import example_parameters
from tasks.ispyb_access.parameters import DispatcherParameters

ABSENT = {"ispyb_images"}  # of the group's other rotations: a grid scan, as the example is, has none


def test_the_example_has_a_value_for_all_that_recipes_may_know():
    found = example_parameters()
    assert set(found) == {f"ispyb_{name}" for name in DispatcherParameters.model_fields}
    assert {name for name, value in found.items() if value in ("", None, {})} == ABSENT
    json.dumps(found)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("ispyb_dc_info", reader.COLLECTION),
        ("ispyb_diffraction_plan", reader.PLAN),
        ("ispyb_protein_info", reader.PROTEIN),
    ],
)
def test_rows_have_all_columns_with_values(name, table):
    row = example_parameters()[name]
    assert {column.name for column in table.columns} <= set(row)
    assert None not in row.values()


def test_the_example_is_a_grid_scan():
    info = example_parameters()["ispyb_dc_info"]
    assert {column.name for column in reader.GRID.columns} == set(info["gridinfo"])
    assert info["uuid"]
