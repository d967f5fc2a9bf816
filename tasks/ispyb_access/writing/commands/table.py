"""The table of all commands, joined of those of the families.

Each family's module ends in the table of its commands: a new command is an entry there.
"""

from collections.abc import Mapping
from typing import Final

from tasks.ispyb_access.writing.commands import (
    attachments,
    centring,
    data_collections,
    image_quality,
    integration,
    jobs,
    pdb_files,
    phasing,
    programs,
    references,
    retrievals,
    screening,
    structures,
)
from tasks.ispyb_access.writing.commands.command import Command

FAMILIES: Final = (
    attachments,
    centring,
    data_collections,
    image_quality,
    integration,
    jobs,
    pdb_files,
    phasing,
    programs,
    retrievals,
    screening,
    structures,
)

COMMANDS: Final[Mapping[str, Command]] = dict(
    sorted((name, command) for family in FAMILIES for name, command in family.COMMANDS.items())
)
"""What recipes may name."""

BUFFER_COMMANDS: Final = references.COMMANDS
"""What the command `buffer` is made of; recipes don't name them."""
