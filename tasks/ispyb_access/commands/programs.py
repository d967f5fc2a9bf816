"""Programs that process a data collection: their registration and how they stand."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ispyb.sqlalchemy import Base
from pydantic import Field
from sqlalchemy import Connection, func, or_, select, update

from blocks.errors import MessageRefused
from tasks.ispyb_access.commands.base import CommandParameters, LocalTime, fit_row, insert_row

PROGRAM = Base.metadata.tables["AutoProcProgram"]
SCALING = Base.metadata.tables["AutoProcScaling"]
AUTOPROC = Base.metadata.tables["AutoProc"]

# Zocalo's names of programs, with their upstream source where it has a row of its own in ProcessingPipeline.
PIPELINE_IDS = {
    "fast_dp": 3,
    "xia2.multiplex": 5,
    "xia2 dials": 6,
    "xia2 3dii": 7,
    "autoPROC": 8,
    "fast_ep": 9,
    "dimple": 10,
    "MrBUMP": 11,
    "big_ep/xds": 12,
    "big_ep/dials": 13,
    "autoPROC+STARANISO": 14,
    "xia2 dials (multi)": 15,
    "xia2 3dii (multi)": 16,
}
STATUS_CODES = {"success": 1, "failure": 0}


class RegisterProcessing(CommandParameters):
    """A program about to process something."""

    program: str
    cmdline: str | None = None
    environment: dict[str, Any] | str | None = None
    upstream_source: str | None = None
    rpid: int | None = Field(None, description="Number of the processing job")
    scaling_id: int | list[int] | None = None

    @property
    def pipeline_id(self) -> int | None:
        """The row of ProcessingPipeline; None for a program that has none."""
        return PIPELINE_IDS.get(f"{self.program}/{self.upstream_source}", PIPELINE_IDS.get(self.program))

    @property
    def environment_text(self) -> str | None:
        """The environment as ISPyB shows it."""
        if isinstance(self.environment, Mapping):
            return ", ".join(f"{key}={value}" for key, value in self.environment.items())
        return self.environment

    @property
    def first_scaling_id(self) -> int | None:
        """The scaling whose program is the parent of this one."""
        value: Any = self.scaling_id
        if value is None and isinstance(self.environment, Mapping):
            value = self.environment.get("scaling_id")
        if isinstance(value, list):
            value = value[0] if value else None
        return int(value) if value is not None and re.fullmatch(r"\d+", str(value)) else None


class UpdateProcessingStatus(CommandParameters):
    """How a program stands: a status of neither success nor failure means that it runs."""

    program_id: int
    status: str | None = None
    message: str | None = None
    start_time: LocalTime | None = None
    update_time: LocalTime | None = None


def register_processing(connection: Connection, program: RegisterProcessing) -> int:
    """Write a program and return its autoProcProgramId."""
    parent = None
    if program.first_scaling_id is not None:
        parent = connection.scalar(
            select(AUTOPROC.c.autoProcProgramId)
            .join(SCALING, SCALING.c.autoProcId == AUTOPROC.c.autoProcId)
            .where(SCALING.c.autoProcScalingId == program.first_scaling_id)
        )
    row = {
        "processingPrograms": program.program,
        "processingCommandLine": program.cmdline,
        "processingEnvironment": program.environment_text,
        "processingJobId": program.rpid,
        "processingPipelineId": program.pipeline_id,
        "parentAutoProcProgramId": parent,
        "recordTimeStamp": datetime.now(),
    }
    return insert_row(connection, PROGRAM, row)


def update_processing_status(connection: Connection, update_: UpdateProcessingStatus) -> int:
    """Write how a program stands, in one conditional statement, and return its id.

    Once it has ended nothing of it changes any more. News that it runs are ignored if older ones than those written;
    the first start time and what the news doesn't say stay.

    Raises
    ------
    MessageRefused
        There is no such program.
    """
    status = STATUS_CODES.get(update_.status or "")
    values = fit_row(
        PROGRAM,
        {
            "processingStatus": status,
            "processingMessage": update_.message,
            "processingStartTime": update_.start_time,
            "processingEndTime": update_.update_time,
        },
    )
    values["processingMessage"] = func.coalesce(values["processingMessage"], PROGRAM.c.processingMessage)
    values["processingStartTime"] = func.coalesce(PROGRAM.c.processingStartTime, values["processingStartTime"])
    values["processingEndTime"] = func.coalesce(values["processingEndTime"], PROGRAM.c.processingEndTime)
    its_row = PROGRAM.c.autoProcProgramId == update_.program_id
    statement = update(PROGRAM).where(its_row, PROGRAM.c.processingStatus.is_(None)).values(values)
    if status is None and update_.update_time is not None:
        written = PROGRAM.c.processingEndTime
        statement = statement.where(or_(written.is_(None), written <= update_.update_time))
    if not connection.execute(statement).rowcount and connection.scalar(select(func.count()).where(its_row)) == 0:
        raise MessageRefused(f"ISPyB has no program {update_.program_id}: register_processing gives the number")
    return update_.program_id
