"""What integration and merging made of a data collection, by procedures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.integration import AutoProc, Integration, Scaling
from tasks.ispyb_access.writing.procedures.calling import Connector, Procedure, filled

logger = logging.getLogger(__name__)


def upsert_integration(ispyb: Connector, integration: Integration) -> int:
    """Write an integration, or change what is given of it, and return its autoProcIntegrationId.

    Raises
    ------
    MessageRefused
        The data collection isn't given.
    """
    if integration.dcid is None:
        raise MessageRefused("expected dcid, which ISPyB's procedure wants even where it's known; seen none")
    processing = ispyb.mx_processing
    template = processing.get_integration_params()
    if integration.integration_id is not None:
        template["anom"] = None  # its default is for new ones, and would erase what is there
    values = filled(
        template,
        dict(integration),
        id=integration.integration_id,
        parentid=integration.scaling_id,
        datacollectionid=integration.dcid,
        programid=integration.program_id,
    )
    number: int = processing.upsert_integration(values)
    return number


def register_integration(ispyb: Connector, integration: Integration) -> int:
    """Do as upsert_integration, which is its name today."""
    logger.warning("register_integration is the old name of upsert_integration: change it in the recipe")
    return upsert_integration(ispyb, integration)


def write_autoproc(ispyb: Connector, autoproc: AutoProc) -> int:
    """Write the result of merging, or change what is given of it, and return its autoProcId."""
    processing, own = ispyb.mx_processing, {"id": autoproc.autoproc_id, "parentid": autoproc.program_id}
    number: int = processing.upsert_processing(filled(processing.get_processing_params(), dict(autoproc), **own))
    return number


def insert_scaling(ispyb: Connector, scaling: Scaling) -> int:
    """Write a scaling with the statistics of three shells, in a transaction; return its autoProcScalingId."""
    processing = ispyb.mx_processing
    number: int = processing.insert_scaling(
        scaling.autoproc_id,
        filled(processing.get_overall_scaling_params(), dict(scaling.overall)),
        filled(processing.get_inner_shell_scaling_params(), dict(scaling.inner_shell)),
        filled(processing.get_outer_shell_scaling_params(), dict(scaling.outer_shell)),
    )
    return number


PROCEDURES: Final[Mapping[str, Procedure]] = {
    "insert_scaling": insert_scaling,
    "register_integration": register_integration,
    "upsert_integration": upsert_integration,
    "write_autoproc": write_autoproc,
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "insert_scaling": ("insert_processing_scaling_v2",),
    "register_integration": ("upsert_processing_integration",),
    "upsert_integration": ("upsert_processing_integration",),
    "write_autoproc": ("upsert_processing",),
}
