"""Prefect's checks of parameters, with schemas that are known."""

from __future__ import annotations

import time
from unittest.mock import Mock

import jsonschema
import pytest
from prefect.utilities.schema_tools import ValidationError, is_valid_schema, validate, validation

from flows.site.api_server._prefect_private import remember_checked_schemas

SCHEMA = {"type": "object", "required": ["dcid"], "properties": {"dcid": {"type": "integer", "minimum": 1}}}


@pytest.fixture
def check(monkeypatch):
    """Prefect's own check of schemas, which counts."""
    check = Mock(wraps=validation._VALIDATOR.check_schema)
    monkeypatch.setattr(validation._VALIDATOR, "check_schema", check)
    remember_checked_schemas()
    return check


def test_a_schema_is_checked_once_and_parameters_each_time(check):
    for dcid in (1, 2, 3):
        validate({"dcid": dcid}, SCHEMA, raise_on_error=True)
    for parameters in ({"dcid": 0}, {"dcid": "x"}, {}):
        with pytest.raises(ValidationError):
            validate(parameters, SCHEMA, raise_on_error=True)
    assert check.call_count == 1
    validate({"dcid": 1}, SCHEMA | {"title": "another"}, raise_on_error=True)
    assert check.call_count == 2


def test_a_schema_that_is_none_is_refused_each_time(check):
    for _ in range(2):
        with pytest.raises(jsonschema.SchemaError):
            validate({}, {"type": "nonsense"}, raise_on_error=True)
        with pytest.raises(ValueError, match="nonsense"):
            is_valid_schema({"type": "nonsense"})


def test_a_large_schema_costs_hardly_anything_when_it_is_known(check):
    schema = {"type": "object", "properties": {f"p{number}": {"type": "integer"} for number in range(200)}}
    validate({}, schema, raise_on_error=True)
    begun = time.process_time()
    for _ in range(10):
        validate({}, schema, raise_on_error=True)
    assert check.call_count == 1
    assert time.process_time() - begun < 0.2
