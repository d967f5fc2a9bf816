"""Whether there is a Prefect API to ask, found out without importing Prefect."""

import os
import sys


def has_prefect_api() -> bool:
    """Tell whether this process has a Prefect API, from the environment or from the profile of a loaded Prefect."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    if "prefect" not in sys.modules:  # importing Prefect to look into its profile would cost a second
        return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())
