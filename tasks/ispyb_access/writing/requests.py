"""What a message asks of ISPyB: a value that yields its commands one by one and is sent their answers.

Nothing is written here. What carries the commands out, and what answers from the ledger instead, is in `fulfilment`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from blocks.errors import MessageRefused, PassingFault
from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS, Announcement, CommandCall
from tasks.ispyb_access.writing.composite_commands import (
    BUFFER,
    MULTIPART,
    BufferedCommand,
    Place,
    check_name,
    check_store_name,
    read_list,
)
from tasks.ispyb_access.writing.parameters import look_up, read_command_parameters
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters

Result = TypeVar("Result")

Calls = Generator[CommandCall, Any, Result]
"""Commands to be carried out, one after the other. Each wants to be sent its value, or to be thrown its fault."""


NOTHING_LEFT: Final = "nothing of the list is written"


class RowAwaited(PassingFault):
    """A command needs the id of a row that no message has written yet."""


@dataclass(frozen=True)
class Outcome:
    """What came of a message.

    Parameters
    ----------
    values
        Those of its commands, in order.
    stored
        What later steps find in the environment.
    announcements
        What is to be told, beside the value.
    """

    values: Sequence[Any]
    stored: Mapping[str, Any]
    announcements: Sequence[Announcement]

    @property
    def value(self) -> Any:
        """The last command's value."""
        return self.values[-1]


@dataclass(frozen=True)
class Request:
    """What a message asks for.

    Parameters
    ----------
    command
        A command's name.
    places
        Where its parameters stand, the first before the others: the message, the recipe.
    environment
        Fills in `$name`.
    store_result
        The name under which later steps find the value.
    """

    command: str
    places: tuple[Place, ...]
    environment: Mapping[str, Any]
    store_result: str | None = None

    @property
    def is_repeatable(self) -> bool:
        """Done twice is the same as done once."""
        command = COMMANDS.get(self.command)
        return command is not None and command.is_repeatable

    def check(self) -> None:
        """Check what can be checked before anything is carried out.

        Raises
        ------
        MessageRefused
            A command isn't known or, of a single one, the parameters are wrong.
        """
        if self.command == MULTIPART:
            read_list(*self.places)
        else:
            _ = self._single

    def calls(self, *, left: Callable[[], str] = lambda: NOTHING_LEFT) -> Calls[Outcome]:
        """Yield the commands to be carried out, and return what came of them.

        Given the same answers it yields the same commands and returns the same outcome, whoever answers.

        Parameters
        ----------
        left
            Says what of a list stays written when a command fails: see `Session.left`.

        Raises
        ------
        MessageRefused
            A command can't use its parameters, or isn't known. With a list, nothing was asked for if it isn't.
        RowAwaited
            A row that a command needs isn't there yet.
        """
        asking = _Asking(self.environment, left)
        if self.command == MULTIPART:
            values = yield from asking.for_list(*self.places)
        else:
            values = [(yield from asking.for_read(self.command, self._single, *self.places))]
        asking.store(self.store_result, values[-1])
        return Outcome(values, asking.stored, asking.announcements)

    @cached_property
    def _single(self) -> CommandParameters:
        """The parameters of a single command, read once: reading warns of figures that are left out."""
        return read_single(self.command, look_up(self.environment, *self.places))


class _Asking:
    """Asks for the commands of one request, which hand values on to each other."""

    def __init__(self, environment: Mapping[str, Any], left: Callable[[], str]) -> None:
        self._environment, self._left = environment, left
        self.stored: dict[str, Any] = {}
        self.announcements: list[Announcement] = []

    def store(self, name: str | None, value: Any) -> None:
        if name:
            self.stored[name] = value

    def for_command(self, name: str, *places: Place) -> Calls[Any]:
        return (yield from self.for_read(name, read_single(name, self._look_up(*places)), *places))

    def for_read(self, name: str, parameters: CommandParameters, *places: Place) -> Calls[Any]:
        """Ask for a command whose parameters have been read; the buffer reads those of another from the places."""
        if isinstance(parameters, BufferedCommand):
            return (yield from self._for_buffered(parameters, *places))
        command = COMMANDS[name]
        try:
            value = yield CommandCall(name, command, parameters)
        except (ValueError, OverflowError) as error:
            raise MessageRefused(f"{name} can't use the message: {error}") from error
        if command.announce:
            self.announcements.append(command.announce(parameters, value))
        return value

    def for_list(self, *places: Place) -> Calls[list[Any]]:
        commands, values = read_list(*places), []
        for number, item in enumerate(commands.items, commands.first):
            name, step = item["ispyb_command"], commands.label(number)
            try:
                value = yield from self.for_command(name, item, *places)
            except MessageRefused as error:
                raise MessageRefused(f"{step}: {error}; {self._left()}") from error
            except RowAwaited as error:
                raise RowAwaited(f"{step}: {BUFFER}: {error}") from error
            except Exception as error:
                error.add_note(f"{step}, {name}")
                raise
            self.store(check_store_name(item.get("store_result")), value)
            values.append(value)
        return values

    def _for_buffered(self, buffered: BufferedCommand, *places: Place) -> Calls[Any]:
        references = {}
        for parameter, uuid in buffered.buffer_lookup.items():
            references[parameter] = yield from self._find_reference(buffered.program_id, uuid)
        name = check_name(buffered.buffer_command.get("ispyb_command"))
        value = yield from self.for_command(name, references, buffered.buffer_command, *places)
        if buffered.buffer_store is not None:
            kept = {"program_id": buffered.program_id, "uuid": buffered.buffer_store, "reference": value}
            yield _buffer_call("keep_reference", kept)
        return value

    def _find_reference(self, program_id: int, uuid: int) -> Calls[int]:
        reference: int | None = yield _buffer_call("find_reference", {"program_id": program_id, "uuid": uuid})
        if reference is None:
            raise RowAwaited(f"no row of program {program_id} is known by the number {uuid} in zc_ZocaloBuffer")
        return reference

    def _look_up(self, *places: Place) -> dict[str, Any]:
        return look_up({**self._environment, **self.stored}, *places)


def read_single(name: Any, values: Mapping[str, Any]) -> CommandParameters:
    """Read the parameters of a command, or of the buffer.

    Raises
    ------
    MessageRefused
        The command isn't known, or its parameters are wrong.
    """
    model = BufferedCommand if name == BUFFER else COMMANDS[check_name(name)].parameters
    return read_command_parameters(name, model, values)


def _buffer_call(name: str, values: Mapping[str, Any]) -> CommandCall:
    command = BUFFER_COMMANDS[name]
    return CommandCall(name, command, read_command_parameters(BUFFER, command.parameters, values))
