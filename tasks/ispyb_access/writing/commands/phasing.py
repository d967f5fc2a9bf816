"""Results of experimental phasing, as fast_ep and big_ep send them: one document, many tables."""

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import Field
from sqlalchemy import Connection, Table

from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.needs import inserts
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, Identity, LocalTime, Several
from tasks.ispyb_access.writing.rows.row_parameters import Count, RowParameters, table
from tasks.ispyb_access.writing.rows.writing_rows import insert_row, insert_rows

ANALYSIS = table("PhasingAnalysis")
SCALED = table("Phasing_has_Scaling")


class Analysis(RowParameters):
    """When it was done."""

    table: ClassVar[Table] = ANALYSIS

    record_time_stamp: LocalTime


class ProgramRun(RowParameters):
    """The program."""

    table: ClassVar[Table] = table("PhasingProgramRun")

    phasing_command_line: str | None = None
    phasing_programs: str | None = None
    phasing_status: bool | None = None
    phasing_message: str | None = None
    phasing_start_time: LocalTime = None
    phasing_end_time: LocalTime = None


class ProgramFile(RowParameters):
    """A file of the program."""

    table: ClassVar[Table] = table("PhasingProgramAttachment")

    file_type: str | None = None
    file_name: str | None = None
    file_path: str | None = None
    record_time_stamp: LocalTime = None


class Statistics(RowParameters):
    """A figure of merit in a resolution shell."""

    table: ClassVar[Table] = table("PhasingStatistics")

    number_of_bins: Count | None = None
    bin_number: Count | None = None
    low_res: float | None = None
    high_res: float | None = None
    metric: str | None = None
    statistics_value: float | None = None
    n_reflections: Count | None = None


class Stage(RowParameters):
    """A stage of phasing, in a space group and to a resolution."""

    space_group_id: Identity | None = None
    low_res: float | None = None
    high_res: float | None = None


class Preparation(Stage):
    """How the data were prepared."""

    table: ClassVar[Table] = table("PreparePhasingData")


class Substructure(Stage):
    """How the heavy atoms were found."""

    table: ClassVar[Table] = table("SubstructureDetermination")

    method: str | None = None


class Phases(Stage):
    """How the phases were found."""

    table: ClassVar[Table] = table("Phasing")

    method: str | None = None
    solvent_content: float | None = None
    enantiomorph: bool | None = None


class ModelBuilding(Stage):
    """How the model was built."""

    table: ClassVar[Table] = table("ModelBuilding")


class ScalingResults(CommandParameters):
    """Statistics against the scaled data."""

    statistics: Several[Statistics] = Field((), alias="PhasingStatistics")


class PhasingContainer(CommandParameters):
    """All that came of phasing; of the stages the first of each kind counts."""

    analysis: Several[Analysis] = Field(alias="PhasingAnalysis", min_length=1)
    program_run: Several[ProgramRun] = Field((), alias="PhasingProgramRun")
    files: Several[ProgramFile] = Field((), alias="PhasingProgramAttachment")
    scaling: ScalingResults = Field(ScalingResults(), alias="Phasing_has_ScalingContainer")
    preparation: Several[Preparation] = Field((), alias="PreparePhasingData")
    substructure: Several[Substructure] = Field((), alias="SubstructureDetermination")
    phasing: Several[Phases] = Field((), alias="Phasing")
    model_building: Several[ModelBuilding] = Field((), alias="ModelBuilding")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that were done, in their order."""
        kinds: tuple[tuple[Stage, ...], ...] = (
            self.preparation,
            self.substructure,
            self.phasing,
            self.model_building,
        )
        return tuple(several[0] for several in kinds if several)


class PhasingDocument(CommandParameters):
    """The document's outermost level."""

    container: PhasingContainer = Field(alias="PhasingContainer")


class PhasingResults(CommandParameters):
    """Results of phasing with scaled data."""

    scaling_id: Identity
    phasing_results: PhasingDocument


def insert_phasing_analysis_results(connection: Connection, results: PhasingResults) -> int:
    """Write the results of phasing and return the phasingAnalysisId."""
    container = results.phasing_results.container
    analysis = insert_row(connection, ANALYSIS, container.analysis[0].row())
    link = insert_row(connection, SCALED, {"phasingAnalysisId": analysis, "autoProcScalingId": results.scaling_id})
    figures = [figure.row() | {"phasingHasScalingId1": link} for figure in container.scaling.statistics]
    insert_rows(connection, Statistics.table, figures)
    runs = container.program_run or (ProgramRun(),)
    run = insert_row(connection, ProgramRun.table, runs[0].row())
    for stage in container.stages:
        insert_row(connection, stage.table, stage.row() | {"phasingAnalysisId": analysis, "phasingProgramRunId": run})
    insert_rows(connection, ProgramFile.table, [file.row() | {"phasingProgramRunId": run} for file in container.files])
    return analysis


COMMANDS: Final[Mapping[str, Command]] = {
    "insert_phasing_analysis_results": Command(
        PhasingResults,
        insert_phasing_analysis_results,
        needs=inserts(
            *(ANALYSIS, SCALED, Statistics.table, ProgramRun.table, ProgramFile.table),
            *(Preparation.table, Substructure.table, Phases.table, ModelBuilding.table),
        ),
    ),
}
