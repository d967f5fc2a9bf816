"""What a message asks of ISPyB: one command, a list of them, or one that waits for rows of other messages."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from blocks.errors import MessageRefused, PassingFault
from blocks.validation_faults import describe, dotted
from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS, Announcement, CommandParameters
from tasks.ispyb_access.writing.look_up import look_up
from tasks.ispyb_access.writing.refusals import ids_of
from tasks.ispyb_access.writing.rows.row_parameters import RowParameters
from tasks.ispyb_access.writing.writer import CarryOut, Writer

MULTIPART: Final = "multipart_message"
BUFFER: Final = "buffer"

Place = Mapping[str, Any]
Model = TypeVar("Model", bound=CommandParameters)


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


MODELS: Final[dict[str, type[CommandParameters]]] = {
    **{name: command.parameters for name, command in COMMANDS.items()},
    MULTIPART: MultipartMessage,
    BUFFER: BufferedCommand,
}


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
            _read_list(*self.places)
            return
        if self.command != BUFFER:
            _check_name(self.command)
        read_parameters(self.command, MODELS[self.command], look_up(self.environment, *self.places))

    def carry_out(self, carry_out: CarryOut, *, is_atomic: bool = True) -> Outcome:
        """Carry out the commands.

        Parameters
        ----------
        carry_out
            Carries out one of them.
        is_atomic
            If one fails, those before it aren't written either.

        Raises
        ------
        MessageRefused
            A command can't use its parameters, or isn't known. With a list, nothing was carried out if it isn't.
        RowAwaited
            A row that a command needs isn't there yet.
        """
        run = _Run(carry_out, self.environment, is_atomic)
        if self.command == MULTIPART:
            values = run.carry_out_list(*self.places)
        else:
            values = [run.carry_out(self.command, *self.places)]
        run.store(self.store_result, values[-1])
        return Outcome(values, run.stored, run.announcements)


def fulfil(request: Request, writer: Writer, entry: str | None) -> Outcome:
    """Write what a request asks for; done before under this entry's name, it isn't done again.

    Raises
    ------
    MessageRefused, RowAwaited
        As `Request.carry_out` does, and nothing of it is written.
    DatabaseUnavailable, ConfigurationError
        As `Writer.write` does.
    """
    outcomes: list[Outcome] = []

    def carry_out(command: CarryOut) -> list[Any]:
        values: list[Any] = []

        def note(name: str, parameters: CommandParameters) -> Any:
            values.append(command(name, parameters))
            return values[-1]

        outcomes.append(request.carry_out(note, is_atomic=writer.is_atomic))
        return values

    values = iter(writer.write(entry, carry_out))
    if outcomes:
        return outcomes[-1]
    return request.carry_out(lambda *_: next(values))  # written before: what came of it follows from the values


class _Run:
    """The commands of one request, which hand results on to each other."""

    def __init__(self, carry_out: CarryOut, environment: Mapping[str, Any], is_atomic: bool) -> None:
        self._carry_out, self._environment = carry_out, environment
        self._left = "nothing of the list is written" if is_atomic else "the steps before it stay written"
        self.stored: dict[str, Any] = {}
        self.announcements: list[Announcement] = []

    def store(self, name: str | None, value: Any) -> None:
        if name:
            self.stored[name] = value

    def carry_out(self, name: str, *places: Place) -> Any:
        if name == BUFFER:
            return self._carry_out_buffered(*places)
        _check_name(name)
        parameters = read_parameters(name, COMMANDS[name].parameters, self._look_up(*places))
        try:
            value = self._carry_out(name, parameters)
        except (ValueError, OverflowError) as error:
            raise MessageRefused(f"{name} can't use the message: {error}") from error
        if announce := COMMANDS[name].announce:
            self.announcements.append(announce(parameters, value))
        return value

    def carry_out_list(self, *places: Place) -> list[Any]:
        first, items = _read_list(*places)
        values = []
        for number, item in enumerate(items, first):
            name = item["ispyb_command"]
            step = f"step {number} of {first + len(items) - 1}"
            try:
                value = self.carry_out(name, item, *places)
            except MessageRefused as error:
                raise MessageRefused(f"{step}: {error}; {self._left}") from error
            except RowAwaited as error:
                raise RowAwaited(f"{step}: {BUFFER}: {error}") from error
            except Exception as error:
                error.add_note(f"{step}, {name}")
                raise
            self.store(item.get("store_result"), value)
            values.append(value)
        return values

    def _carry_out_buffered(self, *places: Place) -> Any:
        buffered = read_parameters(BUFFER, BufferedCommand, self._look_up(*places))
        references = {name: self._find(buffered.program_id, uuid) for name, uuid in buffered.buffer_lookup.items()}
        name = _check_name(buffered.buffer_command.get("ispyb_command"))
        value = self.carry_out(name, references, buffered.buffer_command, *places)
        if buffered.buffer_store is not None:
            kept = {"program_id": buffered.program_id, "uuid": buffered.buffer_store, "reference": value}
            self._carry_out("keep_reference", _read_buffer("keep_reference", kept))
        return value

    def _find(self, program_id: int, uuid: int) -> int:
        name = _read_buffer("find_reference", {"program_id": program_id, "uuid": uuid})
        reference: int | None = self._carry_out("find_reference", name)
        if reference is None:
            raise RowAwaited(f"no row of program {program_id} is known by the number {uuid} in zc_ZocaloBuffer")
        return reference

    def _look_up(self, *places: Place) -> dict[str, Any]:
        return look_up({**self._environment, **self.stored}, *places)


def _read_list(*places: Place) -> tuple[int, list[Mapping[str, Any]]]:
    """Return the number of a list's first command, and its commands, whose names are all known.

    Zocalo sends the rest of a list with the number of the steps that are done.
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
    first = done + 1 if isinstance(done, int) else 1
    for number, item in enumerate(items, first):
        name = item.get("ispyb_command") if isinstance(item, Mapping) else None
        try:
            if name != BUFFER:
                _check_name(name)
        except MessageRefused as error:
            step = f"step {number} of {first + len(items) - 1}"
            raise MessageRefused(f"{step}: {error}; nothing of the list is written") from None
    return first, items


def _check_name(name: Any) -> str:
    if not isinstance(name, str):
        raise MessageRefused(f"expected the name of a command as ispyb_command, seen {reprlib.repr(name)}")
    if name not in COMMANDS:
        alike = " or ".join(difflib.get_close_matches(name, COMMANDS))
        advice = f"is it {alike}?" if alike else "`plaza ispyb commands` lists them"
        raise MessageRefused(f"there is no ISPyB command {reprlib.repr(name)}: {advice}")
    return name


def read_parameters(name: str, model: type[Model], values: Mapping[str, Any]) -> Model:
    """Read a command's parameters.

    Raises
    ------
    MessageRefused
        Some are missing or wrong; the message names each.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        reasons = describe(error, place=lambda location: dotted(location) + _column(model, location[0]))
        raise MessageRefused(f"{name}{_ids(model, values, faults)} can't use the message: {reasons}") from None


def _ids(model: type[CommandParameters], values: Mapping[str, Any], faults: Sequence[ErrorDetails]) -> str:
    """Name the rows that a refused message is about, as far as it's right about them."""
    wrong = {fault["loc"][0] for fault in faults if fault["loc"]}
    known = {field.alias or name for name, field in model.model_fields.items()} - wrong
    given = model.respelt(values).items()
    return ids_of((name, value) for name, value in given if name in known and isinstance(value, int | str))


def _column(model: type[CommandParameters], name: str | int) -> str:
    """Name the column that a parameter is for, if it's one of a row, in brackets."""
    columns = model.columns() if issubclass(model, RowParameters) else {}
    return f" ({columns[name]})" if isinstance(name, str) and name in columns else ""


def _read_buffer(name: str, values: Mapping[str, Any]) -> CommandParameters:
    return read_parameters(BUFFER, BUFFER_COMMANDS[name].parameters, values)
