"""Processing jobs as people see them: what is to be done, by which programs it's done, and how those stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ispyb.sqlalchemy import Base
from sqlalchemy import ColumnElement, Connection, Engine, Row, String, Table, func, select, type_coerce

from blocks.errors import MessageRefused, UnknownJob
from blocks.identifiers import Dcid, JobId
from blocks.ispyb_connection import transaction
from tasks.ispyb_access.character_sets import can_hold

JOB = Base.metadata.tables["ProcessingJob"]
PARAMETER = Base.metadata.tables["ProcessingJobParameter"]
SWEEP = Base.metadata.tables["ProcessingJobImageSweep"]
PROGRAM = Base.metadata.tables["AutoProcProgram"]
ATTACHMENT = Base.metadata.tables["AutoProcProgramAttachment"]
COLLECTION = Base.metadata.tables["DataCollection"]
SESSION = Base.metadata.tables["BLSession"]

Record = TypeVar("Record")


@dataclass(frozen=True)
class Attachment:
    """A file that a program made."""

    file_path: str | None
    file_name: str | None
    file_type: str | None
    importance_rank: int | None


@dataclass(frozen=True)
class Program:
    """A program that processes a job.

    Parameters
    ----------
    status
        success, failure, running or queued.
    ended
        When it ended or, while it runs, when it was last heard of.
    """

    id: int
    name: str | None
    status: str
    message: str | None
    command_line: str | None
    environment: str | None
    started: datetime | None
    ended: datetime | None
    attachments: tuple[Attachment, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether its status is final."""
        return self.status in {"success", "failure"}


@dataclass(frozen=True)
class Job:
    """A processing job.

    Parameters
    ----------
    parameters
        Name and value each; a name may come more than once.
    sweeps
        Data collection, first and last image each.
    """

    id: JobId
    dcid: Dcid | None
    recipe: str | None
    display_name: str | None
    comment: str | None
    automatic: bool
    recorded: datetime | None
    parameters: tuple[tuple[str, str], ...] = ()
    sweeps: tuple[tuple[Dcid, int, int], ...] = ()
    programs: tuple[Program, ...] = ()

    @property
    def status(self) -> str:
        """How its last program stands; `no program` before the first one."""
        return self.programs[-1].status if self.programs else "no program"

    def changeable_program(self, number: int | None = None) -> Program:
        """Return the program of that number, or the only one, if its status may still change.

        Raises
        ------
        MessageRefused
            It isn't clear which program, or that has ended: nothing of it changes any more.
        """
        programs = {program.id: program for program in self.programs}
        if not programs:
            raise MessageRefused(f"job {self.id} has no program yet: there's nothing whose status could change")
        if number is None and len(programs) == 1:
            (number,) = programs
        if number not in programs:
            seen = f"no program {number}" if number is not None else f"{len(programs)} programs"
            known = ", ".join(map(str, programs))
            raise MessageRefused(f"job {self.id} has {seen}; its programs: {known}; say which with --program")
        program = programs[number]
        if program.has_ended:
            raise MessageRefused(f"program {number} of job {self.id} has ended with {program.status}: that is final")
        return program


def read_job(engine: Engine, job_id: JobId) -> Job:
    """Read all of a job.

    Raises
    ------
    UnknownJob
        There is no such job.
    DatabaseUnavailable, ConfigurationError
        As `transaction` does.
    """
    with transaction(engine, read_only=True) as connection:
        jobs = _read(connection, [JOB.c.processingJobId == job_id], 1)
    if not jobs:
        raise UnknownJob(f"ISPyB has no processing job {job_id}")
    return jobs[0]


def list_jobs(engine: Engine, dcid: Dcid | None = None, beamline: str | None = None, most: int = 20) -> list[Job]:
    """Read the newest jobs, newest first.

    Parameters
    ----------
    dcid
        Only those of this data collection, or with images of it.
    beamline
        Only those of data collections of this beamline.
    most
        How many at most.
    """
    conditions: list[ColumnElement[bool]] = []
    if dcid is not None:
        with_images = select(SWEEP.c.processingJobId).where(SWEEP.c.dataCollectionId == dcid)
        conditions.append((JOB.c.dataCollectionId == dcid) | JOB.c.processingJobId.in_(with_images))
    if beamline is not None:
        of_beamline = (
            select(COLLECTION.c.dataCollectionId)
            .join(SESSION, SESSION.c.sessionId == COLLECTION.c.SESSIONID)
            # MariaDB compares without case anyway, SQLite with it.
            .where(func.lower(SESSION.c.beamLineName) == beamline.lower())
        )
        conditions.append(JOB.c.dataCollectionId.in_(of_beamline))
    with transaction(engine, read_only=True) as connection:
        if beamline is not None and not can_hold(connection, SESSION.c.beamLineName, beamline):
            return []
        return _read(connection, conditions, most)


def _read(connection: Connection, conditions: Iterable[Any], most: int) -> list[Job]:
    """Read jobs with all that belongs to them: five statements, however many jobs there are."""
    chosen = select(JOB).where(*conditions).order_by(JOB.c.processingJobId.desc()).limit(most)
    jobs = connection.execute(chosen).all()
    ids = [job.processingJobId for job in jobs]
    parameters = _by_job(_rows(connection, PARAMETER, ids))
    sweeps = _by_job(_rows(connection, SWEEP, ids))
    columns = [column for column in PROGRAM.columns if column.name != "jobUuid"]  # a new one, which schemas may lack
    programs = connection.execute(
        select(*columns).where(PROGRAM.c.processingJobId.in_(ids)).order_by(PROGRAM.c.autoProcProgramId)
    ).all()
    attachments = _attachments(connection, [program.autoProcProgramId for program in programs])
    of_job = _by_job(programs)
    return [
        Job(
            id=job.processingJobId,
            dcid=job.dataCollectionId,
            recipe=job.recipe,
            display_name=job.displayName,
            comment=job.comments,
            automatic=bool(job.automatic),
            recorded=job.recordTimestamp,
            parameters=tuple((row.parameterKey, row.parameterValue) for row in parameters[job.processingJobId]),
            sweeps=tuple((row.dataCollectionId, row.startImage, row.endImage) for row in sweeps[job.processingJobId]),
            programs=tuple(_program(row, attachments) for row in of_job[job.processingJobId]),
        )
        for job in jobs
    ]


def _rows(connection: Connection, table: Table, job_ids: Sequence[int]) -> Sequence[Row[Any]]:
    (key,) = table.primary_key.columns
    return connection.execute(select(table).where(table.c.processingJobId.in_(job_ids)).order_by(key)).all()


def _by_job(rows: Iterable[Row[Any]]) -> Mapping[int, list[Row[Any]]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row.processingJobId].append(row)
    return groups


def _attachments(connection: Connection, program_ids: Sequence[int]) -> Mapping[int, list[Attachment]]:
    columns = ATTACHMENT.c
    kind = type_coerce(columns.fileType, String)  # whatever is in it
    found = connection.execute(
        select(columns.autoProcProgramId, columns.filePath, columns.fileName, kind, columns.importanceRank)
        .where(columns.autoProcProgramId.in_(program_ids))
        .order_by(columns.autoProcProgramAttachmentId)
    )
    attachments = defaultdict(list)
    for program_id, *facts in found:
        attachments[program_id].append(Attachment(*facts))
    return attachments


def _program(row: Row[Any], attachments: Mapping[int, list[Attachment]]) -> Program:
    return Program(
        id=row.autoProcProgramId,
        name=row.processingPrograms,
        status=status_word(row.processingStatus, row.processingStartTime),
        message=row.processingMessage,
        command_line=row.processingCommandLine,
        environment=row.processingEnvironment,
        started=row.processingStartTime,
        ended=row.processingEndTime,
        attachments=tuple(attachments[row.autoProcProgramId]),
    )


def status_word(status: int | None, started: datetime | None) -> str:
    """Return how a program stands, as SynchWeb says it."""
    if status is None:
        return "queued" if started is None else "running"
    return "success" if status else "failure"
