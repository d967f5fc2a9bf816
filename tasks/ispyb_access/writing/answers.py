"""What a command of a list has answered, as the ledger keeps it: beside the command's name."""

from __future__ import annotations

from typing import Any, NamedTuple

from blocks.errors import MessageRefused


class Answer(NamedTuple):
    """The answer of a command that was carried out.

    Parameters
    ----------
    command
        The command's name; None: the entry is of a Plaza that didn't enter it.
    value
        What was answered: a JSON value.
    """

    command: str | None
    value: Any

    @classmethod
    def from_json(cls, entered: Any) -> Answer:
        """Read an answer as it was entered."""
        if isinstance(entered, dict) and entered.keys() == {"command", "answer"}:
            return cls(entered["command"], entered["answer"])
        return cls(None, entered)

    def as_json(self) -> Any:
        """Return what is to be entered."""
        return {"command": self.command, "answer": self.value}

    def of(self, command: str) -> Any:
        """Return the value to the command that it's for.

        Raises
        ------
        MessageRefused
            It's another's: a message was changed before it came again.
        """
        if self.command not in {None, command}:
            raise MessageRefused(
                f"{command}: the message was written before, but with other commands: here with {self.command}"
            )
        return self.value
