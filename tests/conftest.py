"""What tests of several kinds use."""

from pathlib import Path

import pytest
from hypothesis import settings

# what an example may find, not how long it takes on a busy machine
settings.register_profile("plaza", deadline=None)
settings.load_profile("plaza")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real diffraction images, which lies next to the checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real diffraction images aren't there: {folder}")
    return folder
