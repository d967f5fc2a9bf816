"""Commands that are made of others: a list of them, and one that waits for rows of other messages."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from blocks.errors import MessageRefused
from tasks.ispyb_access.writing.commands import COMMANDS
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters

MULTIPART: Final = "multipart_message"
BUFFER: Final = "buffer"

Place = Mapping[str, Any]
"""Where parameters stand: a message's payload, a recipe's node, a command in a list."""


class MultipartMessage(CommandParameters):
    """Commands to be carried out one after the other, all or none."""

    ispyb_command_list: list[dict[str, Any]] | None = Field(
        None, description="Commands with their own parameters and store_result; in the message or the recipe"
    )


class BufferedCommand(CommandParameters):
    """A command that needs ids of rows which other messages write, and may give others an id itself."""

    program_id: int = Field(description="The program that gave the rows their numbers")
    buffer_command: dict[str, Any] = Field(description="The command, with its ispyb_command")
    buffer_lookup: dict[str, int] = Field({}, description="The command's parameters, and the numbers of their rows")
    buffer_store: int | None = Field(None, description="The number under which the command's row is found")


MODELS: Final[Mapping[str, type[CommandParameters]]] = {
    **{name: command.parameters for name, command in COMMANDS.items()},
    MULTIPART: MultipartMessage,
    BUFFER: BufferedCommand,
}
"""The parameters of all commands, simple and composite, by their names."""


@dataclass(frozen=True)
class CommandList:
    """Commands of one message, whose names are all known.

    Parameters
    ----------
    items
        Each command's name with its own parameters.
    first
        The number of the first one: Zocalo sends the rest of a list with the number of the steps that are done.
    """

    items: Sequence[Mapping[str, Any]]
    first: int = 1

    def label(self, number: int) -> str:
        """Return what errors say of the command of this number."""
        return f"step {number} of {self.first + len(self.items) - 1}"


def read_list(*places: Place) -> CommandList:
    """Return the first list of commands that is found.

    Raises
    ------
    MessageRefused
        There is none, it's empty, or a command in it isn't known.
    """
    lists = (place for place in places if isinstance(place.get("ispyb_command_list"), list))
    place: Place = next(lists, {})
    items = place.get("ispyb_command_list")
    if not items:
        raise MessageRefused(
            f"{MULTIPART} expects commands in ispyb_command_list, of the message or the recipe; seen "
            + ("an empty list" if items is not None else "none")
        )
    done = place.get("checkpoint", 0)
    commands = CommandList(items, done + 1 if isinstance(done, int) else 1)
    for number, item in enumerate(items, commands.first):
        command = item if isinstance(item, Mapping) else {}
        name = command.get("ispyb_command")
        try:
            if name != BUFFER:
                check_name(name)
            check_store_name(command.get("store_result"))
        except MessageRefused as error:
            raise MessageRefused(f"{commands.label(number)}: {error}; nothing of the list is written") from None
    return commands


def check_store_name(name: Any) -> str | None:
    """Return the name under which later steps find a command's value; None if it isn't kept.

    Raises
    ------
    MessageRefused
        It's none that could be found.
    """
    if not name:
        return None
    if not isinstance(name, str):
        raise MessageRefused(f"expected a name as store_result, seen {reprlib.repr(name)}")
    return name


def check_name(name: Any) -> str:
    """Return a simple command's name.

    Raises
    ------
    MessageRefused
        There is no such command; names that are much alike are suggested.
    """
    if not isinstance(name, str):
        raise MessageRefused(f"expected the name of a command as ispyb_command, seen {reprlib.repr(name)}")
    if name not in COMMANDS:
        alike = " or ".join(difflib.get_close_matches(name, COMMANDS))
        advice = f"is it {alike}?" if alike else "`plaza ispyb commands` lists them"
        raise MessageRefused(f"there is no ISPyB command {reprlib.repr(name)}: {advice}")
    return name
