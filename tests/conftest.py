"""What tests of several kinds use."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.checkout import CHECKOUT
from tests.support.dev_rabbitmq import *  # noqa: F403 - fixtures are found by their names

# The same examples each time: a run of the suite says whether a change is good. Looking for new ones is done by
# choice, with --hypothesis-profile=explore. In both, what an example finds counts, not how long a busy machine takes.
QUICK_ENOUGH = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("plaza", derandomize=True, **QUICK_ENOUGH)
settings.register_profile("explore", max_examples=1000, **QUICK_ENOUGH)
settings.load_profile("plaza")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real diffraction images, which lies next to the checkout."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real diffraction images aren't there: {folder}")
    return folder
