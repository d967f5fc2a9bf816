"""The page of parameters says what the models say."""

import json

import pytest

from tasks.ispyb_access.reading.example import example_parameters
from tasks.ispyb_access.reading.parameters import DispatcherParameters, JobParameters
from tests.support.checkout import REFERENCE_PAGES

PAGE = REFERENCE_PAGES / "ispyb-parameters.md"


def table(model, names):
    """Return the lines of a table of some fields: name, example, description."""
    lines = ["| parameter | as in | |", "|---|---|---|"]
    for name in names:
        example = example_parameters()[f"ispyb_{name}"]
        shown = "a table" if isinstance(example, dict) else f"`{json.dumps(example).strip(chr(34))}`"
        if isinstance(example, list) and any(isinstance(item, dict) for item in example):
            shown = "a list of tables"
        lines.append(f"| `ispyb_{name}` | {shown} | {model.model_fields[name].description} |")
    return lines


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (DispatcherParameters, list(DispatcherParameters.model_fields)),
        (JobParameters, [name for name in JobParameters.model_fields if name not in DispatcherParameters.model_fields]),
    ],
)
def test_every_parameter_is_described_as_the_model_describes_it(model, names):
    lines = table(model, names)
    assert "\n".join(lines) in PAGE.read_text(), "the table has to be:\n" + "\n".join(lines)


@pytest.mark.parametrize("model", [DispatcherParameters, JobParameters])
def test_every_field_has_a_description(model):
    assert all(field.description for field in model.model_fields.values())
