"""The health of a site that isn't there."""

import pytest

from blocks.settings import Settings
from flows.site.health import site_status


@pytest.mark.parametrize("has_home", [False, True])
def test_where_nothing_runs_it_is_said_all_the_same_why_there_is_no_kernel(has_home, tmp_path, monkeypatch):
    """`./plaza` refers to it when the kernel wasn't compiled: nothing runs then."""
    home = tmp_path / "home"
    if has_home:
        home.mkdir()
    monkeypatch.setattr(site_status, "_why_no_kernel", lambda: "it isn't compiled: do so")
    found = site_status.status(Settings(home=home))
    assert found.facts.supervisor == "none"
    assert found.facts.no_kernel == "it isn't compiled: do so"
    assert any("it isn't compiled: do so" in warning for warning in found.warnings)
