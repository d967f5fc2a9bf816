"""Processing jobs: what is to be processed, with what parameters, on which images."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from ispyb.sqlalchemy import Base
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from sqlalchemy import Connection, Table, select

from blocks.errors import MessageRefused
from blocks.identifiers import Dcid, JobId
from tasks.ispyb_access.writing.commands.command import Announcement, Command, Earlier
from tasks.ispyb_access.writing.grants.looking import looking
from tasks.ispyb_access.writing.grants.needs import Sometimes, changes, inserts, looks_up
from tasks.ispyb_access.writing.rows.columns import storable
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters
from tasks.ispyb_access.writing.rows.writing_rows import find_rows, insert_row, insert_rows, update_row

JOB = Base.metadata.tables["ProcessingJob"]
PARAMETER = Base.metadata.tables["ProcessingJobParameter"]
SWEEP = Base.metadata.tables["ProcessingJobImageSweep"]
COLLECTION = Base.metadata.tables["DataCollection"]

AUTOMATIC = "automatic"


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


def _as_pairs(values: Any) -> Any:
    """Take {"key": "value"} too."""
    if isinstance(values, Mapping):
        return [{"key": key, "value": value} for key, value in values.items()]
    return values


def _storable(text: str, info: ValidationInfo) -> str:
    return storable(f"a job's {info.field_name}", text)


ForPeople = Annotated[str, AfterValidator(_storable)]
"""A text that nothing goes by. It's part of what names an automatic job in the ledger, so it has to be storable."""


class KeyValue(BaseModel):
    """A parameter of a job. Too long a value is refused: cut, the job would process something else."""

    model_config = ConfigDict(frozen=True)

    # The columns' lengths
    key: str = Field(min_length=1, max_length=80)
    value: Annotated[str, BeforeValidator(_as_text)] = Field(max_length=1024)


class JobSweep(BaseModel):
    """Images of a data collection, both ends included."""

    model_config = ConfigDict(frozen=True)

    dcid: Dcid = Field(validation_alias=AliasChoices("DCID", "dcid"), gt=0)
    start: int = Field(ge=0)
    end: int

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "JobSweep":
        if self.end < self.start:
            raise ValueError(f"expected end at or after start, seen {self.start} to {self.end}")
        return self


KeyValues = Annotated[tuple[KeyValue, ...], BeforeValidator(_as_pairs)]


class CreateJob(CommandParameters):
    """A job to be made."""

    dcid: Dcid = Field(validation_alias=AliasChoices("DCID", "dcid"), ge=0, description="0: only the sweeps count")
    recipe: str | None = Field(None, max_length=50, description="Run by the recipe ispyb-<recipe>")
    source: str | None = Field(None, description="`automatic`, or who wants it")
    displayname: ForPeople | None = Field(None, description="Cut at 80 characters")
    comment: ForPeople | None = Field(None, description="Cut at 255 characters")
    parameters: KeyValues = ()
    sweeps: tuple[JobSweep, ...] = Field((), description="None: all images of the data collection")
    triggervariables: KeyValues = Field((), description="What the job's recipe is started with")
    autostart: bool = Field(False, description="Announce it on `trigger`, not on `held`")

    @model_validator(mode="after")
    def _has_images(self) -> "CreateJob":
        if not self.dcid and not self.sweeps:
            raise ValueError("expected a data collection in DCID, or sweeps; seen neither")
        return self

    def row(self) -> dict[str, Any]:
        """Return the row of ProcessingJob, but for its time."""
        return {
            "dataCollectionId": self.dcid or None,
            "displayName": self.displayname,
            "comments": self.comment,
            "recipe": self.recipe,
            "automatic": self.source == AUTOMATIC,
        }

    @property
    def entry(self) -> str | None:
        """What names an automatic job: asked for again, by whichever message, it's the same job."""
        if self.source != AUTOMATIC:
            return None
        return f"job/{self.dcid}/{hashlib.sha256(self.model_dump_json().encode()).hexdigest()}"


class UpdateJob(CommandParameters):
    """What is to be changed of a job; the rest stays."""

    job_id: JobId
    displayname: ForPeople | None = None
    comment: ForPeople | None = None
    recipe: str | None = Field(None, max_length=50)


def create_ispyb_job(connection: Connection, job: CreateJob) -> JobId:
    """Write a job with its parameters and sweeps, and return its processingJobId.

    Raises
    ------
    MessageRefused
        No sweeps are given, and ISPyB doesn't know the data collection's images.
    """
    sweeps = job.sweeps or (_all_images(connection, job.dcid),)
    job_id = JobId(insert_row(connection, JOB, job.row() | {"recordTimestamp": datetime.now()}))
    of_job = {"processingJobId": job_id}
    parameters = [of_job | {"parameterKey": one.key, "parameterValue": one.value} for one in job.parameters]
    insert_rows(connection, PARAMETER, parameters)
    images = [
        of_job | {"dataCollectionId": sweep.dcid, "startImage": sweep.start, "endImage": sweep.end} for sweep in sweeps
    ]
    insert_rows(connection, SWEEP, images)
    return job_id


def find_automatic_job(connection: Connection, job: CreateJob) -> JobId | None:
    """Return the first automatic job that is all that is asked for; None if there is none, or a person asks.

    One that was written in part isn't the same. Whoever makes both at the same time may find neither.
    """
    if job.source != AUTOMATIC:
        return None
    sweeps = job.sweeps or (_all_images(connection, job.dcid),)
    images = sorted((sweep.dcid, sweep.start, sweep.end) for sweep in sweeps)
    parameters = sorted((one.key, one.value) for one in job.parameters)
    for job_id in find_rows(connection, JOB, job.row()):
        if _rows_of(connection, job_id, SWEEP, "dataCollectionId", "startImage", "endImage") == images and (
            _rows_of(connection, job_id, PARAMETER, "parameterKey", "parameterValue") == parameters
        ):
            return JobId(job_id)
    return None


def _rows_of(connection: Connection, job_id: int, table: Table, *names: str) -> list[tuple[Any, ...]]:
    statement = select(*(table.c[name] for name in names)).where(table.c.processingJobId == job_id)
    return sorted(tuple(row) for row in connection.execute(statement))


def announce_job(job: CreateJob, job_id: JobId) -> Announcement:
    """Return what tells of a new job: to those who start it at once, or to those who hold it back."""
    variables = {variable.key: variable.value for variable in job.triggervariables}
    return Announcement("trigger" if job.autostart else "held", {"parameters": variables | {"ispyb_process": job_id}})


def update_ispyb_job(connection: Connection, job: UpdateJob) -> int:
    """Change what is given of a job and return its processingJobId.

    Raises
    ------
    MessageRefused
        There is no such job.
    """
    values = {"displayName": job.displayname, "comments": job.comment, "recipe": job.recipe}
    return update_row(connection, JOB, job.job_id, values)


def _all_images(connection: Connection, dcid: Dcid) -> JobSweep:
    columns = COLLECTION.c.startImageNumber, COLLECTION.c.numberOfImages
    statement = select(*columns).where(COLLECTION.c.dataCollectionId == dcid)
    with looking(connection, COLLECTION) as reading:
        images = reading.execute(statement).one_or_none()
    if images is None:
        raise MessageRefused(f"ISPyB has no data collection {dcid}")
    return sweep_of(dcid, *images)


def sweep_of(dcid: Dcid, start: int | None, number: int | None) -> JobSweep:
    """Return all images of a data collection.

    Parameters
    ----------
    dcid
        The data collection.
    start, number
        Its startImageNumber and numberOfImages.

    Raises
    ------
    MessageRefused
        ISPyB doesn't know them.
    """
    if start is None or not number or number < 1:
        raise MessageRefused(
            f"the images of data collection {dcid} aren't known: in ISPyB its startImageNumber is {start} and its "
            f"numberOfImages {number}; give the sweeps"
        )
    return JobSweep(DCID=dcid, start=start, end=start + number - 1)


COMMANDS: Final[Mapping[str, Command]] = {
    "create_ispyb_job": Command(
        CreateJob,
        create_ispyb_job,
        entry=lambda job: job.entry,
        announce=announce_job,
        needs=inserts(JOB, PARAMETER, SWEEP),
        sometimes=(Sometimes("no sweeps", lambda job: not job.sweeps, looks_up(COLLECTION)),),
        earlier=Earlier(find_automatic_job, frozenset({JOB.name, PARAMETER.name, SWEEP.name, COLLECTION.name})),
    ),
    "update_ispyb_job": Command(UpdateJob, update_ispyb_job, needs=changes(JOB)),
}
