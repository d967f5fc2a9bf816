"""A whole site of its own, on free ports, for the tests of the runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from blocks.settings import Settings
from flows.site.services import down, up
from tests.support.site_under_test import RUNTIME_SITE, SiteUnderTest


@pytest.fixture(scope="session")
def runtime_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteUnderTest]:
    """A site whose flows are those of `tests/support/runtime_site`; no analysis cluster, no recipes."""
    folder = tmp_path_factory.mktemp("site")
    recipes = folder / "recipes"
    recipes.mkdir()
    settings = Settings(
        home=folder / "home", recipe_directory=recipes, server_port=0, dask_scheduler="tcp://127.0.0.1:1"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(RUNTIME_SITE), *filter(None, [os.environ.get("PYTHONPATH")])]))
        try:
            site = up(settings, deployments=RUNTIME_SITE, modules=["runtime_flows"])
            yield SiteUnderTest(settings, site, folder)
        finally:
            down(settings)
