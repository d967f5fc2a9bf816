"""What belongs to a sample: the wells of its pin, the energy scans and PDB entries of its protein."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from tasks.ispyb_access.reading.collection import CollectionRow
from tasks.ispyb_access.reading.energy_scan import EnergyScanRow
from tasks.ispyb_access.reading.rows import (
    CRYSTAL,
    ENERGY_SCAN,
    PDB,
    PROTEIN_PDB,
    SAMPLE,
    cell,
)
from tasks.ispyb_access.reading.visit.files import PDBRow

_WELLS = select(SAMPLE.c.subLocation, SAMPLE.c.blSampleId).where(
    SAMPLE.c.containerId == bindparam("container"),
    SAMPLE.c.location == bindparam("location"),
    SAMPLE.c.subLocation.is_not(None),
)

_ENERGY_SCANS = (
    select(
        ENERGY_SCAN.c.energyScanId,
        ENERGY_SCAN.c.blSampleId,
        ENERGY_SCAN.c.element,
        ENERGY_SCAN.c.peakEnergy,
        ENERGY_SCAN.c.peakFPrime,
        ENERGY_SCAN.c.peakFDoublePrime,
        ENERGY_SCAN.c.inflectionEnergy,
        ENERGY_SCAN.c.inflectionFPrime,
        ENERGY_SCAN.c.inflectionFDoublePrime,
    )
    .join(SAMPLE, SAMPLE.c.blSampleId == ENERGY_SCAN.c.blSampleId)
    .join(CRYSTAL, CRYSTAL.c.crystalId == SAMPLE.c.crystalId)
    .where(
        ENERGY_SCAN.c.sessionId == bindparam("session"),
        CRYSTAL.c.proteinId == bindparam("protein"),
        ENERGY_SCAN.c.element.is_not(None),
    )
    .order_by(ENERGY_SCAN.c.energyScanId)
)

_PDB = (
    select(PDB.c.pdbId, PDB.c.name, PDB.c.contents, PDB.c.code, PDB.c.source)
    .join(PROTEIN_PDB, PROTEIN_PDB.c.pdbid == PDB.c.pdbId)
    .where(PROTEIN_PDB.c.proteinid == bindparam("protein"))
    .order_by(PDB.c.pdbId)
)


def read_wells(connection: Connection, collection: CollectionRow) -> dict[int, int]:
    """Return the samples of a pin with several wells, by well; {} for other pins."""
    row = collection.row
    if not str(cell(row, SAMPLE, "loopType") or "").startswith("multipin"):
        return {}
    where = {"container": cell(row, SAMPLE, "containerId"), "location": cell(row, SAMPLE, "location")}
    return {well.subLocation: well.blSampleId for well in connection.execute(_WELLS, where)}


def read_energy_scans(connection: Connection, collection: CollectionRow) -> Sequence[EnergyScanRow]:
    """Return the energy scans that were made in the collection's session on samples of its protein."""
    if collection.protein is None:
        return ()
    rows = connection.execute(_ENERGY_SCANS, {"session": collection.session, "protein": collection.protein})
    return [EnergyScanRow(*row) for row in rows]


def read_pdb_rows(connection: Connection, collection: CollectionRow) -> Sequence[PDBRow]:
    """Return the models that people have linked to the collection's protein: codes, or whole files."""
    if collection.protein is None:
        return ()
    return [PDBRow(*row) for row in connection.execute(_PDB, {"protein": collection.protein})]
