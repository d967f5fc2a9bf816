"""Parameters as recipes get them: Zocalo's names and types, whatever ISPyB holds."""

import json
import math
from datetime import date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ispyb_access.reading.parameters import (
    DispatcherParameters,
    EnergyScanInfo,
    JobParameters,
    PDBModel,
    parameter_names,
)
from tasks.ispyb_access.reading.rows import json_value

NUMBERS = st.integers(-(2**31), 2**31) | st.floats(allow_nan=False, allow_infinity=False)
DATABASE = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63),
    st.floats(),
    st.decimals(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.booleans(),
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2024, 5, 1, 12, 30, 15), "2024-05-01T12:30:15"),
        (datetime(2024, 5, 1, 12, 30, 15, 250_000), "2024-05-01T12:30:15.250000"),
        (date(2024, 5, 1), "2024-05-01"),
        (time(12, 30), "12:30:00"),
        (Decimal("1.50"), 1.5),
        (Decimal("NaN"), None),
        (math.inf, None),
        (math.nan, None),
        (b"\x01\xff", "01ff"),
        (0, 0),
        ("", ""),
        (None, None),
        ("0000-00-00 00:00:00", "0000-00-00 00:00:00"),  # as the driver gives a date that is none
    ],
)
def test_database_values_as_json(value, expected):
    assert json_value(value) == expected
    assert type(json_value(value)) is type(expected)


@given(DATABASE)
def test_whatever_a_column_holds_is_a_json_value(value):
    plain = json_value(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


ROW = st.dictionaries(st.text(max_size=5), DATABASE.map(json_value), max_size=4)
TEXT = st.none() | st.text(max_size=8)
COLLECTIONS = st.builds(
    DispatcherParameters,
    **{
        "dc_info": ROW,
        "diffraction_plan": ROW,
        "protein_info": ROW,
        "pin_info": ROW,
        "ssx_events": st.none() | st.lists(ROW, max_size=2),
        "unit_cell": st.none() | st.tuples(*[st.floats(1, 179)] * 6),
        "energy_scan_info": st.none()
        | st.builds(EnergyScanInfo, fp=NUMBERS, fpp=NUMBERS)
        | st.just(EnergyScanInfo(energyscanid=1, atom_type="Se", edge_position="hrem")),
        "pdb": st.lists(st.builds(PDBModel, code=TEXT, filepath=TEXT, source=TEXT), max_size=2),
        "msp_sample_ids": st.dictionaries(st.integers(), st.integers(), max_size=2),
    },
)


@given(COLLECTIONS)
def test_parameters_of_any_collection_are_json(parameters):
    found = parameters.recipe_parameters()
    assert set(found) <= set(parameter_names())
    read_back = json.loads(json.dumps(found, allow_nan=False))
    for name, value in found.items():
        if name != "ispyb_msp_sample_ids":  # in JSON, its numbers are texts
            assert read_back[name] == as_json(value)


def as_json(value):
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return {key: as_json(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(st.builds(JobParameters, processing_job=ROW))
def test_parameters_of_any_job_are_json(parameters):
    found = parameters.recipe_parameters()
    assert set(found) <= set(parameter_names())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_is_not_there_has_zocalos_values():
    rows = {name: {} for name in ("dc_info", "diffraction_plan", "protein_info", "pin_info", "msp_sample_ids")}
    lists = {name: [] for name in ("dcg_dcids", "related_sweeps", "related_images", "related_dcids", "pdb")}
    required = {name for name, field in DispatcherParameters.model_fields.items() if field.is_required()}
    kinds = dict.fromkeys(("grid", "serial_fixed", "serial_jet", "characterization", "diamond_anvil_cell"), False)
    texts = {"preferred_processing": "xia2/DIALS", "space_group": "", "project": "AUTOMATIC", "crystal": "DEFAULT"}
    there = {"dcid": 1, "dc_class": {**kinds, "screen": None, "rotation": None}, **texts, **rows, **lists}
    found = DispatcherParameters(**{**dict.fromkeys(required), **there}).recipe_parameters()
    assert (found["ispyb_unit_cell"], found["ispyb_energy_scan_info"]) == (False, {})
    assert found["ispyb_dc_class"]["rotation"] is None
    assert found.keys().isdisjoint({"ispyb_images", "ispyb_image", "ispyb_ssx_events", "ispyb_processing_job"})


@pytest.mark.parametrize(("recipe", "name"), [("xia2-dials", "ispyb-xia2-dials"), (None, None), ("", None)])
def test_recipe_of_a_job_has_its_prefix(recipe, name):
    job = JobParameters(
        dcid=1, process=2, processing_job={"recipe": recipe}, processing_parameters={}, reprocessing_parameters={}
    )
    assert job.recipe == name
