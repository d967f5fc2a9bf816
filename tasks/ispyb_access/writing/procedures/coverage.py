"""Which commands ISPyB's stored procedures can carry out, and what to do about the others.

Each family's module ends in the tables of its functions, and of the database's procedures that they call, by their
commands' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tasks.ispyb_access.writing.procedures import (
    attachments,
    centring,
    data_collections,
    image_quality,
    integration,
    jobs,
    phasing,
    programs,
    retrievals,
    screening,
    structures,
)
from tasks.ispyb_access.writing.procedures.calling import Procedure

FAMILIES: Final = (
    attachments,
    data_collections,
    image_quality,
    integration,
    jobs,
    phasing,
    programs,
    retrievals,
    screening,
    structures,
)

PROCEDURES: Final[Mapping[str, Procedure]] = {
    name: procedure for family in FAMILIES for name, procedure in family.PROCEDURES.items()
}

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    name: routines for family in (*FAMILIES, centring) for name, routines in family.CALLS.items()
}
"""The procedures that a command calls whatever its parameters, by their names in the database."""

LOOK_UPS: Final = centring.LOOK_UPS
"""What fills in the parameters of commands that are written by SQL, by what only procedures may look up."""

NOT_COVERED: Final = {
    "find_reference": "nothing reads zc_ZocaloBuffer, so the command buffer can't be used",
    "insert_pdb_files": "nothing writes PDB files",
    "insert_xray_centring": "the one there is, upsert_xray_centring_result, writes columns that today's table lacks",
    "keep_reference": "nothing writes zc_ZocaloBuffer, so the command buffer can't be used",
    **structures.NOT_COVERED,
}
"""Commands that no procedure of ispyb's API carries out, and what there is instead."""
