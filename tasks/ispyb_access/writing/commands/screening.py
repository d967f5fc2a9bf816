"""Characterisation of a crystal from a few images: how it diffracts, and how to collect its data."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import AliasChoices, Field, model_validator
from sqlalchemy import Connection, Table

from blocks.identifiers import Dcid
from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.commands.data_collections import COLLECTION, group_of
from tasks.ispyb_access.writing.grants.needs import Sometimes, inserts, looks_up
from tasks.ispyb_access.writing.rows.command_parameters import Identity
from tasks.ispyb_access.writing.rows.row_parameters import Count, In, RowParameters, table
from tasks.ispyb_access.writing.rows.writing_rows import insert_row


class Screening(RowParameters):
    """A characterisation of a data collection or of a group."""

    table: ClassVar[Table] = table("Screening")

    dcid: Annotated[Identity | None, In("dataCollectionId")] = None
    dcgid: Annotated[Identity | None, In("dataCollectionGroupId")] = Field(
        None, validation_alias=AliasChoices("dcgid", "dcid-group"), description="Looked up if only dcid is given"
    )
    program_version: str | None = None
    short_comments: str | None = None
    comments: str | None = None
    auto_proc_program_id: Identity | None = None

    @model_validator(mode="after")
    def _is_of_something(self) -> "Screening":
        if self.dcid is None and self.dcgid is None:
            raise ValueError("expected dcid or dcgid, seen neither")
        return self


class ScreeningInput(RowParameters):
    """What a characterisation started from."""

    table: ClassVar[Table] = table("ScreeningInput")

    screening_id: Identity
    beamx: float | None = None
    beamy: float | None = None
    rms_err_lim: Annotated[float | None, In("rmsErrorLimits")] = None
    min_fraction_indexed: Annotated[float | None, In("minimumFractionIndexed")] = None
    max_fraction_rejected: Annotated[float | None, In("maximumFractionRejected")] = None
    min_signal2noise: Annotated[float | None, In("minimumSignalToNoise")] = None


class ScreeningOutput(RowParameters):
    """What a characterisation found of the crystal."""

    table: ClassVar[Table] = table("ScreeningOutput")

    screening_id: Identity
    status_description: str | None = None
    rejected_reflections: Count | None = None
    resolution_obtained: float | None = Field(None, description="Å")
    spot_deviation_r: float | None = None
    spot_deviation_theta: float | None = None
    beam_shift_x: float | None = None
    beam_shift_y: float | None = None
    num_spots_found: Count | None = None
    num_spots_used: Count | None = None
    num_spots_rejected: Count | None = None
    mosaicity: float | None = Field(None, description="Degrees; if not 0, mosaicityEstimated is set")
    i_over_sigma: float | None = None
    diffraction_rings: Count | None = None
    ranking_resolution: float | None = None
    program: str | None = None
    dose_total: float | None = None
    total_exposure_time: float | None = None
    total_rotation_range: float | None = None
    total_no_images: Annotated[Count | None, In("totalNumberOfImages")] = None
    rfriedel: float | None = None
    alignment_success: bool = False


class ScreeningOutputLattice(RowParameters):
    """The crystal's lattice."""

    table: ClassVar[Table] = table("ScreeningOutputLattice")

    screening_output_id: Identity
    spacegroup: str | None = None
    pointgroup: str | None = None
    bravais_lattice: str | None = None
    raw_orientation_matrix_a_x: float | None = None
    raw_orientation_matrix_a_y: float | None = None
    raw_orientation_matrix_a_z: float | None = None
    raw_orientation_matrix_b_x: float | None = None
    raw_orientation_matrix_b_y: float | None = None
    raw_orientation_matrix_b_z: float | None = None
    raw_orientation_matrix_c_x: float | None = None
    raw_orientation_matrix_c_y: float | None = None
    raw_orientation_matrix_c_z: float | None = None
    unit_cell_a: float | None = None
    unit_cell_b: float | None = None
    unit_cell_c: float | None = None
    unit_cell_alpha: float | None = None
    unit_cell_beta: float | None = None
    unit_cell_gamma: float | None = None
    labelit_indexing: bool | None = None


class ScreeningStrategy(RowParameters):
    """How to collect the crystal's data."""

    table: ClassVar[Table] = table("ScreeningStrategy")

    screening_output_id: Identity
    phi_start: float | None = None
    phi_end: float | None = None
    rotation: float | None = None
    exposure_time: float | None = None
    resolution: float | None = None
    completeness: float | None = None
    multiplicity: float | None = None
    anomalous: bool = False
    program: str | None = None
    ranking_resolution: float | None = None
    transmission: float | None = None


class ScreeningStrategyWedge(RowParameters):
    """A part of a strategy, at one orientation of the crystal."""

    table: ClassVar[Table] = table("ScreeningStrategyWedge")

    screening_strategy_id: Identity
    wedge_number: Count | None = 1
    resolution: float | None = None
    completeness: float | None = None
    multiplicity: float | None = None
    dose_total: float | None = None
    no_images: Annotated[Count | None, In("numberOfImages")] = None
    phi: float | None = None
    kappa: float | None = None
    chi: float | None = None
    comments: str | None = None
    wavelength: float | None = Field(None, description="Å")


class ScreeningStrategySubWedge(RowParameters):
    """A sweep of a wedge."""

    table: ClassVar[Table] = table("ScreeningStrategySubWedge")

    screening_strategy_wedge_id: Identity
    rotation_axis: str | None = None
    axis_start: float | None = None
    axis_end: float | None = None
    exposure_time: float | None = None
    transmission: float | None = None
    oscillation_range: float | None = None
    completeness: float | None = None
    multiplicity: float | None = None
    resolution: float | None = None
    dose_total: float | None = None
    no_images: Annotated[Count | None, In("numberOfImages")] = None
    comments: str | None = None


def insert_screening(connection: Connection, screening: Screening) -> int:
    """Write a characterisation and return its screeningId.

    Raises
    ------
    MessageRefused
        The group isn't given, and ISPyB doesn't know the data collection.
    """
    group = screening.dcgid
    if group is None and screening.dcid is not None:
        group = group_of(connection, Dcid(screening.dcid))
    return insert_row(connection, screening.table, screening.row() | {"dataCollectionGroupId": group})


def insert_screening_input(connection: Connection, given: ScreeningInput) -> int:
    """Write what a characterisation started from and return its screeningInputId."""
    return insert_row(connection, given.table, given.row())


def insert_screening_output(connection: Connection, found: ScreeningOutput) -> int:
    """Write what a characterisation found and return its screeningOutputId; it's taken for a success, as in Zocalo."""
    state: dict[str, Any] = {
        "mosaicityEstimated": bool(found.mosaicity),
        "indexingSuccess": True,
        "strategySuccess": True,
    }
    return insert_row(connection, found.table, found.row() | state)


def insert_screening_output_lattice(connection: Connection, lattice: ScreeningOutputLattice) -> int:
    """Write a characterisation's lattice and return its screeningOutputLatticeId."""
    return insert_row(connection, lattice.table, lattice.row())


def insert_screening_strategy(connection: Connection, strategy: ScreeningStrategy) -> int:
    """Write a strategy and return its screeningStrategyId."""
    return insert_row(connection, strategy.table, strategy.row())


def insert_screening_strategy_wedge(connection: Connection, wedge: ScreeningStrategyWedge) -> int:
    """Write a wedge of a strategy and return its screeningStrategyWedgeId."""
    return insert_row(connection, wedge.table, wedge.row())


def insert_screening_strategy_sub_wedge(connection: Connection, sweep: ScreeningStrategySubWedge) -> int:
    """Write a sweep of a wedge and return its screeningStrategySubWedgeId; its number is always 1, as in Zocalo."""
    return insert_row(connection, sweep.table, sweep.row() | {"subWedgeNumber": 1})


COMMANDS: Final[Mapping[str, Command]] = {
    "insert_screening": Command(
        Screening,
        insert_screening,
        needs=inserts(Screening.table),
        sometimes=(
            Sometimes("no dcgid", lambda one: one.dcgid is None and one.dcid is not None, looks_up(COLLECTION)),
        ),
    ),
    "insert_screening_input": Command(ScreeningInput, insert_screening_input, needs=inserts(ScreeningInput.table)),
    "insert_screening_output": Command(ScreeningOutput, insert_screening_output, needs=inserts(ScreeningOutput.table)),
    "insert_screening_output_lattice": Command(
        ScreeningOutputLattice, insert_screening_output_lattice, needs=inserts(ScreeningOutputLattice.table)
    ),
    "insert_screening_strategy": Command(
        ScreeningStrategy, insert_screening_strategy, needs=inserts(ScreeningStrategy.table)
    ),
    "insert_screening_strategy_sub_wedge": Command(
        ScreeningStrategySubWedge, insert_screening_strategy_sub_wedge, needs=inserts(ScreeningStrategySubWedge.table)
    ),
    "insert_screening_strategy_wedge": Command(
        ScreeningStrategyWedge, insert_screening_strategy_wedge, needs=inserts(ScreeningStrategyWedge.table)
    ),
}
