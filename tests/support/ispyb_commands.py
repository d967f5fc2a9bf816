"""ISPyB's commands, one at a time."""

from typing import Any

from tasks.ispyb_access.writing.commands import COMMANDS, CommandCall
from tasks.ispyb_access.writing.writer import Writer


def carry_out(writer: Writer, name: str, entry: str | None = None, **values: Any) -> Any:
    """Carry out a command in a session of its own and return its value."""
    command = COMMANDS[name]
    call = CommandCall(name, command, command.parameters.model_validate(values))
    with writer.session(entry) as carry_out:
        return carry_out(call)
