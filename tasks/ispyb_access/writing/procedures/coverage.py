"""Which commands ISPyB's stored procedures can carry out, and what to do about the others.

Each family's module ends in the tables of its functions, and of the database's procedures that they call always or for
some parameters, by their commands' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
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
from tasks.ispyb_access.writing.procedures.routines import PARAMETERS, SometimesCalled
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters

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
"""The procedures that a command calls whatever its parameters, by their names in the database; it may call others."""

SOMETIMES: Final[Mapping[str, tuple[SometimesCalled, ...]]] = {
    name: more for family in (centring, data_collections, jobs) for name, more in family.SOMETIMES.items()
}
"""Those that it calls beside, for some parameters."""

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


def called(name: str, given: CommandParameters | str | None = None) -> dict[str, int]:
    """Return the procedures that a command calls, each with the number of parameters that it's called with.

    Parameters
    ----------
    given
        The command's parameters, or in words of which kind they are; None: those that it calls for some are included.
    """
    more = (one.routines for one in SOMETIMES.get(name, ()) if _is_for(one, given))
    return {routine: PARAMETERS[routine] for routine in (*CALLS[name], *chain.from_iterable(more))}


def _is_for(one: SometimesCalled, given: CommandParameters | str | None) -> bool:
    if given is None or isinstance(given, str):
        return given in {None, one.given}
    return one.applies(given)
