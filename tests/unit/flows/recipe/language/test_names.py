"""What recipes may be called."""

from __future__ import annotations

import pytest

from flows.recipe import catalogue
from flows.recipe.language.names import name_fault
from tests.support.recipe_names import BAD_NAMES, GOOD_NAMES, NAMES_OF_NO_FILE


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_entrypoint_of_a_name_leads_to_its_recipe(name, tmp_path, monkeypatch):
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.setattr(
        "flows.recipe.catalogue.get_settings", lambda: type("Settings", (), {"recipe_directory": tmp_path})
    )
    assert name_fault(name) is None
    (tmp_path / f"{name}.json").write_text("{}")
    assert load_flow_from_entrypoint(catalogue.entrypoint(name)).name == name


def test_usual_names_stay_readable():
    assert catalogue.entrypoint("per-image_2") == "flows.recipe.catalogue.per-image_2"


@pytest.mark.parametrize(("name", "fault"), (BAD_NAMES | NAMES_OF_NO_FILE).items())
def test_name_is_refused_with_the_reason(name, fault):
    assert fault in name_fault(name)


@pytest.mark.parametrize("attribute", ["..%2F..%2Fetc", "%2Fetc%2Fx", "__path__", "%00"])
def test_catalogue_leads_nowhere_else(attribute):
    with pytest.raises(AttributeError):
        getattr(catalogue, attribute)
