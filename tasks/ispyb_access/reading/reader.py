"""Read what a recipe needs of a data collection or of a processing job, as Zocalo's dispatcher does."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, select

from blocks.errors import UnknownDataCollection, UnknownJob
from blocks.identifiers import Dcid, JobId, parse_dcid, parse_job_id
from blocks.ispyb_connection import safe_url, transaction
from tasks.ispyb_access.reading.asking import collection_to_read, is_collection_unread, job_to_read
from tasks.ispyb_access.reading.assembly import CollectionDetails, assemble, classify_collection, has_sweeps
from tasks.ispyb_access.reading.collection import CollectionRow, read_collection, read_events, read_grid
from tasks.ispyb_access.reading.energy_scan import choose_energy_scan
from tasks.ispyb_access.reading.job import read_job_parameters
from tasks.ispyb_access.reading.parameters import (
    DispatcherParameters,
    JobParameters,
    ReadParameters,
    RelatedCollections,
)
from tasks.ispyb_access.reading.related import (
    groups_of_directories,
    groups_of_samples,
    read_related,
    read_visit_directories,
)
from tasks.ispyb_access.reading.rows import COLLECTION
from tasks.ispyb_access.reading.sample import read_energy_scans, read_pdb_rows, read_wells
from tasks.ispyb_access.reading.visit.files import FileAccess, VisitFiles, Wanted, find_visit_files


def read_data_collection(
    engine: Engine, dcid: Dcid, guid: str, access: FileAccess = FileAccess.FULL
) -> DispatcherParameters:
    """Read the recipe parameters of a data collection, in at most eight statements.

    Parameters
    ----------
    engine
        ISPyB.
    dcid
        The data collection.
    guid
        The recipe run: the last component of its directories.
    access
        What to do with the visit's folder.

    Raises
    ------
    UnknownDataCollection
        There is none of this id.
    DatabaseUnavailable
        ISPyB can't be reached.
    VisitFilesUnavailable
        The visit's file system doesn't answer.
    """
    with transaction(engine, read_only=True) as connection:
        collection = read_collection(connection, dcid)
        if collection is None:
            raise _unknown(engine, dcid)
        details = _read_details(connection, collection)
    # No transaction is held open for the file system, which may take its time
    groups = groups_of_samples(details.related)
    files = find_visit_files(_wanted(collection, details, has_groups=bool(groups)), access)
    if files.groups:
        groups = _groups_of_directories(engine, collection, files)
    return assemble(collection, details, files, groups, guid)


def read_processing_job(engine: Engine, job_id: JobId) -> JobParameters:
    """Read the recipe parameters of a processing job, in three statements.

    Raises
    ------
    UnknownJob
        There is none of this id.
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    with transaction(engine, read_only=True) as connection:
        job = read_job_parameters(connection, job_id)
    if job is None:
        raise UnknownJob(f"ISPyB at {safe_url(engine)} has no processing job {job_id}: check the job's id")
    return job


def complete_parameters(
    engine: Engine,
    given: Mapping[str, Any],
    guid: str,
    access: FileAccess = FileAccess.FULL,
    collection: DispatcherParameters | None = None,
) -> ReadParameters:
    """Add what ISPyB says to the parameters of a recipe run: Zocalo's dispatcher filter.

    Parameters
    ----------
    engine
        ISPyB.
    given
        What was handed over. Without `ispyb_dcid`, `ispyb_process` or `ispyb_reprocessing_id` there is nothing to add;
        nor is there for the data collection if `ispyb_dc_info` is there, nor for the job if `ispyb_processing_job` is:
        somebody has read it.
    guid
        The recipe run.
    access
        What to do with the visit's folder.
    collection
        The data collection, if it has been read already.

    Raises
    ------
    UnknownDataCollection, UnknownJob
        There is none of this id, or the job names no data collection.
    DatabaseUnavailable
        ISPyB can't be reached.
    VisitFilesUnavailable
        The visit's file system doesn't answer.
    """
    # The job first: it may be what names the data collection.
    job, dcid = None, collection_to_read(given)
    if (job_id := job_to_read(given)) is not None:
        job = read_processing_job(engine, parse_job_id(job_id))
        dcid = given.get("ispyb_dcid") or job.dcid
        if dcid is None:
            raise UnknownDataCollection(
                f"processing job {job.process} names no data collection, nor do its sweeps: expected "
                "ProcessingJob.dataCollectionId; give the data collection's id with the job's"
            )
    if dcid is not None:
        dcid = parse_dcid(dcid)
        if collection is None and is_collection_unread(given):
            collection = read_data_collection(engine, dcid, guid, access)
    return ReadParameters(given=dict(given), dcid=dcid, job=job, collection=collection)


def read_run_status(engine: Engine, dcid: Dcid) -> str | None:
    """Return how a data collection stands (`runStatus`); None while the beamline hasn't said.

    Raises
    ------
    UnknownDataCollection
        There is none of this id.
    DatabaseUnavailable
        ISPyB can't be reached.
    """
    with transaction(engine, read_only=True) as connection:
        found = connection.execute(select(COLLECTION.c.runStatus).where(COLLECTION.c.dataCollectionId == dcid)).first()
    if found is None:
        raise _unknown(engine, dcid)
    status: str | None = found.runStatus
    return status


def _read_details(connection: Connection, collection: CollectionRow) -> CollectionDetails:
    """Read what is worth a statement for this kind of data collection."""
    grid = read_grid(connection, collection)
    kind = classify_collection(collection, has_grid=bool(grid))
    scans = read_energy_scans(connection, collection)
    return CollectionDetails(
        kind=kind,
        grid=grid,
        related=read_related(connection, collection),
        wells=read_wells(connection, collection),
        energy_scan=choose_energy_scan(scans, collection.sample, collection.info["wavelength"]),
        pdb_rows=read_pdb_rows(connection, collection),
        events=read_events(connection, collection) if has_sweeps(kind) else (),
    )


def _wanted(collection: CollectionRow, details: CollectionDetails, *, has_groups: bool) -> Wanted:
    _, visit_directory = collection.visit
    return Wanted(
        visit_directory=None if visit_directory is None else str(visit_directory),
        parts=collection.parts,
        crystal=not collection.space_group and not collection.unit_cell,
        groups=not has_groups and collection.session is not None,
        pdb_rows=details.pdb_rows,
    )


def _groups_of_directories(engine: Engine, collection: CollectionRow, files: VisitFiles) -> list[RelatedCollections]:
    _, visit_directory = collection.visit
    with transaction(engine, read_only=True) as connection:
        collections = read_visit_directories(connection, collection)
    return groups_of_directories(files.groups, collections, str(visit_directory))


def _unknown(engine: Engine, dcid: Dcid) -> UnknownDataCollection:
    return UnknownDataCollection(
        f"ISPyB at {safe_url(engine)} has no data collection {dcid}: check the dcid, and that this is the "
        "database that the beamline writes to"
    )
