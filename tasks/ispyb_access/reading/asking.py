"""Which questions the parameters of a recipe run leave to ISPyB; quick to import, unlike the reader."""

from collections.abc import Mapping
from typing import Any


def job_to_read(known: Mapping[str, Any]) -> Any:
    """Return the id of the processing job that is named but hasn't been read; None if there's none."""
    if "ispyb_processing_job" in known:
        return None
    return known.get("ispyb_reprocessing_id") or known.get("ispyb_process") or None


def collection_to_read(known: Mapping[str, Any]) -> Any:
    """Return the id of the data collection that is named but hasn't been read; None if there's none."""
    return known.get("ispyb_dcid") if is_collection_unread(known) else None


def is_collection_unread(known: Mapping[str, Any]) -> bool:
    """Tell whether nobody has read the data collection for these parameters."""
    return "ispyb_dc_info" not in known
