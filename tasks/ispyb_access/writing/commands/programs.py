"""Programs that process a data collection: their registration and how they stand."""

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, field_validator
from sqlalchemy import Connection, Table, Update, func, or_, select, update

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.looking import looking
from tasks.ispyb_access.writing.grants.needs import Sometimes, changes, inserts, looks_up
from tasks.ispyb_access.writing.rows.command_parameters import Identity, LocalTime, Several
from tasks.ispyb_access.writing.rows.row_parameters import In, RowParameters, table
from tasks.ispyb_access.writing.rows.times import real_time
from tasks.ispyb_access.writing.rows.writing_rows import insert_row, prepare_row

logger = logging.getLogger(__name__)

PROGRAM = table("AutoProcProgram")
SCALING = table("AutoProcScaling")
AUTOPROC = table("AutoProc")

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
MESSAGE_LENGTH = 80  # the procedure's, though the column holds more: viewers have room for that


class RegisterProcessing(RowParameters):
    """A program about to process something."""

    table: ClassVar[Table] = PROGRAM

    program: Annotated[str, In("processingPrograms")] = Field(description="Its name chooses the pipeline")
    cmdline: Annotated[str | None, In("processingCommandLine")] = None
    environment: dict[str, Any] | str | None = Field(None, description="Written as `name=value, …`")
    upstream_source: str | None = Field(None, description="With the program's name chooses the pipeline")
    rpid: Annotated[Identity | None, In("processingJobId")] = Field(None, description="Number of the processing job")
    scaling_id: Several[Identity] = Field((), description="The first one's program is the parent of this one")

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
        if self.scaling_id:
            return self.scaling_id[0]
        value = self.environment.get("scaling_id") if isinstance(self.environment, Mapping) else None
        if isinstance(value, list):
            value = value[0] if value else None
        return int(value) if value is not None and re.fullmatch(r"\d{1,10}", str(value)) else None


class UpdateProcessingStatus(RowParameters):
    """How a program stands: a status of neither success nor failure means that it runs."""

    table: ClassVar[Table] = PROGRAM

    program_id: Annotated[Identity, In("autoProcProgramId")]
    status: str | None = Field(None, description="success or failure; anything else: it runs")
    message: Annotated[str | None, In("processingMessage")] = Field(None, description="Cut at 80 characters")
    start_time: Annotated[LocalTime, In("processingStartTime")] = Field(
        None, description="The first one counts; now if none is given"
    )
    update_time: Annotated[LocalTime, In("processingEndTime")] = Field(None, description="Now if it isn't given")

    @property
    def status_code(self) -> int | None:
        """ISPyB's code of the status; None: it runs."""
        return STATUS_CODES.get((self.status or "").lower())

    @property
    def news(self) -> str:
        """What it says, in words."""
        status = self.status or "that it runs"
        return status if self.message is None else f"{status} ({self.message!r})"

    @field_validator("message")
    @classmethod
    def _short(cls, message: str | None) -> str | None:
        if message and len(message) > MESSAGE_LENGTH:
            logger.warning(
                "a status message is cut to %d of its %d characters: %s", MESSAGE_LENGTH, len(message), message
            )
            return message[:MESSAGE_LENGTH]
        return message


class UpdateProgramName(RowParameters):
    """What a program turns out to be called."""

    table: ClassVar[Table] = PROGRAM

    program_id: Annotated[Identity, In("autoProcProgramId")]
    program: Annotated[str, In("processingPrograms")]


def register_processing(connection: Connection, program: RegisterProcessing) -> int:
    """Write a program and return its autoProcProgramId."""
    parent = None
    if program.first_scaling_id is not None:
        statement = (
            select(AUTOPROC.c.autoProcProgramId)
            .join(SCALING, SCALING.c.autoProcId == AUTOPROC.c.autoProcId)
            .where(SCALING.c.autoProcScalingId == program.first_scaling_id)
        )
        with looking(connection, AUTOPROC, SCALING) as reading:
            parent = reading.scalar(statement)
    more = {
        "processingEnvironment": program.environment_text,
        "processingPipelineId": program.pipeline_id,
        "parentAutoProcProgramId": parent,
    }
    return insert_row(connection, PROGRAM, program.row() | more)


def update_processing_status(connection: Connection, update_: UpdateProcessingStatus) -> int:
    """Write how a program stands, in one conditional statement, and return its id.

    The rules are those of the procedure upsert_processing_program_v2. Once it has ended nothing changes any more.
    News that it runs are ignored if older than those written. The first start time stays, as does the message if
    there is no new one. Times that nobody gives are now: viewers take a program without a start time for one that
    waits.

    Raises
    ------
    MessageRefused
        There is no such program.
    """
    status, now = update_.status_code, datetime.now()
    times = {"processingStartTime": update_.start_time or now, "processingEndTime": update_.update_time or now}
    fitted = prepare_row(connection, PROGRAM, update_.row() | times)
    columns = PROGRAM.c
    message: str | None = fitted["processingMessage"]  # which names of Greek letters may have made longer
    started, heard_of = (real_time(connection, columns[name]) for name in ("processingStartTime", "processingEndTime"))
    values = {
        "processingStatus": status,
        "processingMessage": func.coalesce(message and message[:MESSAGE_LENGTH], columns.processingMessage),
        "processingStartTime": func.coalesce(started, fitted["processingStartTime"]),
        "processingEndTime": fitted["processingEndTime"],
    }
    statement = _unless_ended(update_.program_id).values(values)
    if status is None and update_.update_time is not None:
        statement = statement.where(or_(heard_of.is_(None), heard_of <= update_.update_time))
    return _write(connection, statement, update_.program_id, update_.news)


def update_program_name(connection: Connection, name: UpdateProgramName) -> int:
    """Change a program's name, unless it has ended, and return its id.

    Raises
    ------
    MessageRefused
        There is no such program.
    """
    statement = _unless_ended(name.program_id).values(prepare_row(connection, PROGRAM, name.row()))
    return _write(connection, statement, name.program_id, f"the name {name.program!r}")


def _unless_ended(program_id: int) -> Update:
    return update(PROGRAM).where(PROGRAM.c.autoProcProgramId == program_id, PROGRAM.c.processingStatus.is_(None))


def _write(connection: Connection, statement: Update, program_id: int, news: str) -> int:
    """Change a program if the statement's conditions hold, or say that they don't; return its id."""
    if connection.execute(statement).rowcount:
        return program_id
    columns = PROGRAM.c
    state = connection.execute(
        select(columns.processingStatus, columns.processingMessage, columns.processingEndTime).where(
            columns.autoProcProgramId == program_id
        )
    ).one_or_none()
    if state is None:
        raise MessageRefused(f"ISPyB has no {PROGRAM.name} {program_id}")
    tell_of_ignored(program_id, news, *state)
    return program_id


def tell_of_ignored(
    program_id: int, news: str, status: int | None, message: str | None, heard_of: datetime | None
) -> None:
    """Warn that news of a program change nothing.

    Parameters
    ----------
    program_id
        The program.
    news
        What was to be written.
    status, message, heard_of
        What ISPyB says of it: its status, its message, and when it was last heard of.
    """
    if status is None:
        reason = f"ISPyB has later news of it, of {heard_of}"
    else:
        word = {code: name for name, code in STATUS_CODES.items()}.get(status, status)
        reason = f"it has ended already, at {heard_of}, with {word}" + (f" ({message!r})" if message else "")
    logger.warning("program %d: %s is ignored, since %s", program_id, news, reason)


COMMANDS: Final[Mapping[str, Command]] = {
    "register_processing": Command(
        RegisterProcessing,
        register_processing,
        needs=inserts(PROGRAM),
        sometimes=(
            Sometimes("scaling_id", lambda program: program.first_scaling_id is not None, looks_up(AUTOPROC, SCALING)),
        ),
    ),
    "update_processing_status": Command(UpdateProcessingStatus, update_processing_status, needs=changes(PROGRAM)),
    "update_program_name": Command(UpdateProgramName, update_program_name, needs=changes(PROGRAM)),
}
