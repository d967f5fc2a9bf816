"""Where the checkout is, for tests of its files."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
REFERENCE_PAGES = CHECKOUT / "docs" / "reference"
