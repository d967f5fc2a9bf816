"""Models of a protein, kept in ISPyB with their contents."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field
from sqlalchemy import Connection

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.looking import looking
from tasks.ispyb_access.writing.grants.needs import inserts, looks_up
from tasks.ispyb_access.writing.rows.columns import TEXT_BYTES
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, Identity
from tasks.ispyb_access.writing.rows.row_parameters import table
from tasks.ispyb_access.writing.rows.writing_rows import insert_row, require_row
from tasks.regular_files import read_regular

logger = logging.getLogger(__name__)

PROTEIN = table("Protein")
PDB = table("PDB")
OWNER = table("Protein_has_PDB")
LARGEST_FILE = TEXT_BYTES["MEDIUMTEXT"]


class PdbFiles(CommandParameters):
    """Files with models of a protein."""

    protein_id: Identity
    source: str | None = Field(None, description="Where they come from; cut at 30 characters")
    pdb_files: tuple[str, ...] = Field(min_length=1, description="Paths; those that aren't there are left out")


def insert_pdb_files(connection: Connection, files: PdbFiles) -> None:
    """Write the files' contents for the protein; returns nothing, as in Zocalo.

    Raises
    ------
    MessageRefused
        There is no such protein, or a file can't be read or is larger than 16 MB.
    """
    with looking(connection, PROTEIN) as reading:
        require_row(reading, PROTEIN, files.protein_id)
    for file in files.pdb_files:
        contents = _read(Path(file))
        if contents is None:
            logger.warning("%s isn't there: nothing of it is written for protein %d", file, files.protein_id)
            continue
        pdb = insert_row(connection, PDB, {"name": Path(file).name, "contents": contents, "source": files.source})
        insert_row(connection, OWNER, {"proteinid": files.protein_id, "pdbid": pdb})


def _read(path: Path) -> str | None:
    """Return a file's text; None if there is no such file."""
    try:
        if not path.is_file():
            return None
        contents = read_regular(path, LARGEST_FILE + 1)
        if len(contents) > LARGEST_FILE:
            raise MessageRefused(f"{path} has {path.stat().st_size} bytes: PDB.contents holds {LARGEST_FILE}")
    except OSError as error:
        raise MessageRefused(f"{path} can't be read: {error}") from error
    try:
        return contents.decode()
    except UnicodeDecodeError:
        return contents.decode("latin1")  # old files have it in the authors' names


COMMANDS: Final[Mapping[str, Command]] = {
    "insert_pdb_files": Command(PdbFiles, insert_pdb_files, needs=inserts(PDB, OWNER) | looks_up(PROTEIN)),
}
