"""ISPyB's write commands, by the names that recipes call them."""

from tasks.ispyb_access.writing.commands.command import Announcement, CarryOut, Command, CommandCall, Earlier
from tasks.ispyb_access.writing.commands.table import BUFFER_COMMANDS, COMMANDS, FAMILIES

__all__ = ["BUFFER_COMMANDS", "COMMANDS", "FAMILIES", "Announcement", "CarryOut", "Command", "CommandCall", "Earlier"]
