"""What integration and merging made of a data collection: AutoProcIntegration, AutoProc, AutoProcScaling."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, model_validator
from sqlalchemy import Connection, Table, delete

from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.needs import Needs, Right, Sometimes, changes, inserts
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, Identity
from tasks.ispyb_access.writing.rows.row_parameters import Count, In, RowParameters, table
from tasks.ispyb_access.writing.rows.writing_rows import insert_row, insert_rows, upsert_row

logger = logging.getLogger(__name__)

SCALING = table("AutoProcScaling")
STATISTICS = table("AutoProcScalingStatistics")
SCALED = table("AutoProcScaling_has_Int")


class Integration(RowParameters):
    """A data collection's integration."""

    table: ClassVar[Table] = table("AutoProcIntegration")

    integration_id: Annotated[Identity | None, In("autoProcIntegrationId")] = Field(
        None, description="Changes this one; else a new one is made"
    )
    dcid: Annotated[Identity | None, In("dataCollectionId")] = Field(None, description="A new one needs it")
    program_id: Annotated[Identity | None, In("autoProcProgramId")] = None
    scaling_id: Identity | None = Field(None, description="The scaling that used it, in place of an earlier one")
    anom: Annotated[bool | None, In("anomalous")] = None
    beam_vec_x: Annotated[float | None, In("beamVectorX")] = None
    beam_vec_y: Annotated[float | None, In("beamVectorY")] = None
    beam_vec_z: Annotated[float | None, In("beamVectorZ")] = None
    cell_a: float | None = None
    cell_b: float | None = None
    cell_c: float | None = None
    cell_alpha: float | None = None
    cell_beta: float | None = None
    cell_gamma: float | None = None
    start_image_no: Annotated[Count | None, In("startImageNumber")] = None
    end_image_no: Annotated[Count | None, In("endImageNumber")] = None
    refined_detector_dist: Annotated[float | None, In("refinedDetectorDistance")] = None
    refined_xbeam: float | None = None
    refined_ybeam: float | None = None
    rot_axis_x: Annotated[float | None, In("rotationAxisX")] = None
    rot_axis_y: Annotated[float | None, In("rotationAxisY")] = None
    rot_axis_z: Annotated[float | None, In("rotationAxisZ")] = None

    @model_validator(mode="after")
    def _is_of_something(self) -> "Integration":
        if self.integration_id is None and self.dcid is None:
            raise ValueError("expected dcid, or integration_id to change one; seen neither")
        return self


class AutoProc(RowParameters):
    """A crystal's symmetry and cell after merging."""

    table: ClassVar[Table] = table("AutoProc")

    autoproc_id: Annotated[Identity | None, In("autoProcId")] = Field(
        None, description="Changes this one; else a new one is made"
    )
    program_id: Annotated[Identity | None, In("autoProcProgramId")] = None
    spacegroup: str | None = None
    refinedcell_a: float | None = None
    refinedcell_b: float | None = None
    refinedcell_c: float | None = None
    refinedcell_alpha: float | None = None
    refinedcell_beta: float | None = None
    refinedcell_gamma: float | None = None


class ShellStatistics(RowParameters):
    """How well the data of a resolution shell agree."""

    table: ClassVar[Table] = STATISTICS

    anom: Annotated[bool, In("anomalous")] = False
    anom_completeness: Annotated[float | None, In("anomalousCompleteness")] = None
    anom_multiplicity: Annotated[float | None, In("anomalousMultiplicity")] = None
    cc_anom: Annotated[float | None, In("ccAnomalous")] = None
    cc_half: float | None = None
    comments: str | None = None
    completeness: float | None = None
    fract_partial_bias: Annotated[float | None, In("fractionalPartialBias")] = None
    mean_i_sig_i: Annotated[float | None, In("meanIOverSigI")] = None
    multiplicity: float | None = None
    n_tot_obs: Annotated[Count | None, In("nTotalObservations")] = None
    n_tot_unique_obs: Annotated[Count | None, In("nTotalUniqueObservations")] = None
    r_meas_all_iplusi_minus: float | None = None
    r_meas_within_iplusi_minus: float | None = None
    r_merge: float | None = None
    r_pim_all_iplusi_minus: float | None = None
    r_pim_within_iplusi_minus: float | None = None
    res_i_sig_i_2: Annotated[float | None, In("resIOverSigI2")] = None
    res_lim_high: Annotated[float | None, In("resolutionLimitHigh")] = None
    res_lim_low: Annotated[float | None, In("resolutionLimitLow")] = None


class Scaling(CommandParameters):
    """A scaling's statistics, as a table of three columns."""

    autoproc_id: Identity
    overall: ShellStatistics
    inner_shell: ShellStatistics = Field(alias="innerShell")
    outer_shell: ShellStatistics = Field(alias="outerShell")


def upsert_integration(connection: Connection, integration: Integration) -> int:
    """Write an integration, or change what is given of it, and return its autoProcIntegrationId.

    Raises
    ------
    MessageRefused
        There is no integration of this number.
    """
    number = upsert_row(connection, integration.table, integration.integration_id, integration.row())
    if integration.scaling_id is not None:
        if integration.integration_id is not None:  # of a new one there is nothing to delete but a gap to lock
            connection.execute(delete(SCALED).where(SCALED.c.autoProcIntegrationId == number))
        link = {"autoProcIntegrationId": number, "autoProcScalingId": integration.scaling_id}
        insert_row(connection, SCALED, link)
    return number


def register_integration(connection: Connection, integration: Integration) -> int:
    """Do as upsert_integration, which is its name today."""
    logger.warning("register_integration is the old name of upsert_integration: change it in the recipe")
    return upsert_integration(connection, integration)


def write_autoproc(connection: Connection, autoproc: AutoProc) -> int:
    """Write the result of merging, or change what is given of it, and return its autoProcId.

    Raises
    ------
    MessageRefused
        There is no result of this number.
    """
    return upsert_row(connection, autoproc.table, autoproc.autoproc_id, autoproc.row())


def insert_scaling(connection: Connection, scaling: Scaling) -> int:
    """Write a scaling with the statistics of three shells and return its autoProcScalingId."""
    number = insert_row(connection, SCALING, {"autoProcId": scaling.autoproc_id})
    shells = {"overall": scaling.overall, "innerShell": scaling.inner_shell, "outerShell": scaling.outer_shell}
    rows: list[dict[str, Any]] = [
        shell.row() | {"autoProcScalingId": number, "scalingStatisticsType": kind} for kind, shell in shells.items()
    ]
    insert_rows(connection, STATISTICS, rows)
    return number


LINKS: Final = inserts(SCALED)
LINKS_ANEW: Final = Needs({SCALED.name: Right.SELECT | Right.DELETE})
OF_INTEGRATIONS: Final = (
    Sometimes("a new one", lambda one: one.integration_id is None, inserts(Integration.table)),
    Sometimes("integration_id", lambda one: one.integration_id is not None, changes(Integration.table)),
    Sometimes("scaling_id", lambda one: one.scaling_id is not None, LINKS),
    Sometimes("both ids", lambda one: None not in (one.scaling_id, one.integration_id), LINKS_ANEW),
)
OF_AUTOPROCS: Final = (
    Sometimes("a new one", lambda one: one.autoproc_id is None, inserts(AutoProc.table)),
    Sometimes("autoproc_id", lambda one: one.autoproc_id is not None, changes(AutoProc.table)),
)

COMMANDS: Final[Mapping[str, Command]] = {
    "insert_scaling": Command(Scaling, insert_scaling, needs=inserts(SCALING, STATISTICS)),
    "register_integration": Command(Integration, register_integration, sometimes=OF_INTEGRATIONS),
    "upsert_integration": Command(Integration, upsert_integration, sometimes=OF_INTEGRATIONS),
    "write_autoproc": Command(AutoProc, write_autoproc, sometimes=OF_AUTOPROCS),
}
