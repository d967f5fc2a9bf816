"""Write the rows that a beamline writes into ISPyB: before a data collection, and at its end."""

from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ispyb.sqlalchemy import (
    BLSample,
    BLSession,
    Crystal,
    DataCollection,
    DataCollectionGroup,
    Detector,
    GridInfo,
    Person,
    Proposal,
    Protein,
)
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.orm import Session

from blocks.errors import ConfigurationError
from blocks.identifiers import Dcid
from blocks.ispyb_connection import retry_transaction
from tasks.simulation.image_set import ImageSet
from tasks.simulation.plan import CollectionKind
from tasks.simulation.visit import Visit

SUCCESSFUL = "DataCollection Successful"
UNSUCCESSFUL = "DataCollection Unsuccessful"
STOPPED = "DataCollection Stopped"

EXPERIMENT_TYPES = {
    CollectionKind.ROTATION: "SAD",
    CollectionKind.GRID: "Mesh",
    CollectionKind.SCREENING: "OSC",
}

Row = TypeVar("Row")


def begin_collection(
    engine: Engine, sweep: ImageSet, visit: Visit, folder: Path, group_id: int | None = None
) -> tuple[Dcid, int]:
    """Insert a data collection and whatever it hangs on that isn't there yet.

    Parameters
    ----------
    engine
        ISPyB.
    sweep
        What is collected.
    visit
        Where and for whom.
    folder
        Where its images will be.
    group_id
        Data collection group that it belongs to; unset: a new one.

    Returns
    -------
    tuple[Dcid, int]
        Ids of the data collection and of its group.
    """

    def insert(connection: Connection) -> tuple[Dcid, int]:
        with Session(connection) as session:
            return _insert_collection(session, sweep, visit, folder, group_id)

    return retry_transaction(engine, insert)


def end_collection(engine: Engine, dcid: Dcid, run_status: str, recorded: int | None = None) -> None:
    """Write how and when a data collection ended.

    Parameters
    ----------
    engine
        ISPyB.
    dcid
        The data collection.
    run_status
        One of SUCCESSFUL, UNSUCCESSFUL and STOPPED.
    recorded
        Number of images, if it isn't what was asked for.
    """
    facts: dict[str, Any] = {"runStatus": run_status, "endTime": _now()}
    if recorded is not None:
        facts["numberOfImages"] = recorded

    def store(connection: Connection) -> None:
        group_id = connection.scalar(
            select(DataCollection.dataCollectionGroupId).where(DataCollection.dataCollectionId == dcid)
        )
        connection.execute(update(DataCollection).where(DataCollection.dataCollectionId == dcid).values(facts))
        connection.execute(
            update(DataCollectionGroup)
            .where(DataCollectionGroup.dataCollectionGroupId == group_id)
            .values(endTime=facts["endTime"])
        )

    retry_transaction(engine, store)


def _insert_collection(
    session: Session, sweep: ImageSet, visit: Visit, folder: Path, group_id: int | None
) -> tuple[Dcid, int]:
    beam_time = _find_session(session, visit)
    sample = _find_sample(session, beam_time)
    if group_id is None:
        group = DataCollectionGroup(
            sessionId=beam_time.sessionId,
            blSampleId=sample.blSampleId,
            experimentType=EXPERIMENT_TYPES[sweep.kind],
            startTime=_now(),
            comments="Simulated",
        )
        group_id = _add(session, group).dataCollectionGroupId
    detector = _find_detector(session, sweep)
    row = DataCollection(
        dataCollectionGroupId=group_id,
        SESSIONID=beam_time.sessionId,
        BLSAMPLEID=sample.blSampleId,
        detectorId=detector.detectorId,
        **_describe(sweep, folder),
    )
    dcid = Dcid(_add(session, row).dataCollectionId)
    if sweep.grid is not None:
        _add(session, _describe_grid(sweep, dcid, group_id))
    return dcid, group_id


def _describe(sweep: ImageSet, folder: Path) -> dict[str, Any]:
    turned = (sweep.images - 1) * (sweep.width_deg - sweep.overlap_deg) + sweep.width_deg
    return {
        "dataCollectionNumber": sweep.number,
        "startTime": _now(),
        "rotationAxis": "Omega",
        "axisStart": sweep.start_deg,
        "axisEnd": sweep.start_deg + turned,
        "axisRange": sweep.width_deg,
        "omegaStart": sweep.start_deg,
        "overlap": sweep.overlap_deg,
        "numberOfImages": sweep.images,
        "startImageNumber": sweep.first,
        "numberOfPasses": 1,
        "exposureTime": sweep.exposure_s,
        # With its slash: recipes put directory and file name together as they are.
        "imageDirectory": f"{folder}/",
        "imagePrefix": sweep.prefix,
        "imageSuffix": sweep.suffix,
        "fileTemplate": sweep.template,
        "wavelength": sweep.wavelength_a,
        "resolution": sweep.resolution_a,
        "detectorDistance": sweep.distance_mm,
        "xBeam": sweep.beam_x_mm,
        "yBeam": sweep.beam_y_mm,
        "imageSizeX": sweep.pixels_x,
        "imageSizeY": sweep.pixels_y,
        # Percent, photons/s, mm: the images don't depend on them
        "transmission": 100.0,
        "flux": 1e12,
        "beamSizeAtSampleX": 0.02,
        "beamSizeAtSampleY": 0.02,
        "comments": "Simulated data collection",
    }


def _describe_grid(sweep: ImageSet, dcid: Dcid, group_id: int) -> GridInfo:
    grid = sweep.grid
    assert grid is not None
    return GridInfo(
        dataCollectionId=dcid,
        dataCollectionGroupId=group_id,
        steps_x=grid.steps_x,
        steps_y=grid.steps_y,
        dx_mm=grid.dx_mm,
        dy_mm=grid.dy_mm,
        micronsPerPixelX=grid.microns_per_pixel_x,
        micronsPerPixelY=grid.microns_per_pixel_y,
        snapshot_offsetXPixel=grid.snapshot_offset_x_px,
        snapshot_offsetYPixel=grid.snapshot_offset_y_px,
        orientation=grid.orientation,
        snaked=grid.snaked,
        meshAngle=sweep.start_deg,
    )


def _find_session(session: Session, visit: Visit) -> BLSession:
    person = _find(session, Person, login="simulated", familyName="Beamline", givenName="Simulated")
    names = {"proposalCode": visit.code, "proposalNumber": str(visit.proposal)}
    proposal = _find(session, Proposal, names, personId=person.personId, title="Simulated data collections")
    key = {"proposalId": proposal.proposalId, "visit_number": visit.number}
    found = _find(session, BLSession, key, beamLineName=visit.beamline, startDate=_now(), scheduled=1)
    if found.beamLineName != visit.beamline:
        raise ConfigurationError(
            f"visit {visit.name} is at {found.beamLineName}, not at {visit.beamline}: name another visit (--visit)"
        )
    return found


def _find_sample(session: Session, beam_time: BLSession) -> BLSample:
    protein = _find(session, Protein, {"proposalId": beam_time.proposalId, "acronym": "SIM"}, name="Simulated")
    crystal = _find(session, Crystal, {"proteinId": protein.proteinId})
    return _find(session, BLSample, {"crystalId": crystal.crystalId, "name": "simulated_1"})


def _find_detector(session: Session, sweep: ImageSet) -> Detector:
    key = {
        "detectorModel": sweep.detector_model,
        "numberOfPixelsX": sweep.pixels_x,
        "numberOfPixelsY": sweep.pixels_y,
    }
    return _find(
        session,
        Detector,
        key,
        detectorType="Photon counting",
        detectorManufacturer="Simulated",
        detectorPixelSizeHorizontal=sweep.pixel_mm,
        detectorPixelSizeVertical=sweep.pixel_mm,
    )


def _find(session: Session, model: type[Row], key: dict[str, Any] | None = None, **facts: Any) -> Row:
    """Return the row with these values, a new one if there is none; facts are only for a new one."""
    key = facts if key is None else key
    found = session.scalars(select(model).filter_by(**key).limit(1)).first()
    return found if found is not None else _add(session, model(**(facts | key)))


def _add(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()
    return row


def _now() -> datetime:
    # ISPyB's times are the beamline's local ones, without a zone and fractions.
    return datetime.now().replace(microsecond=0)
