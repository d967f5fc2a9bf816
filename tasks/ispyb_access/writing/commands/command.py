"""A write command: what it reads and writes, and how it's named once it's called with parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from sqlalchemy import Connection

from tasks.ispyb_access.writing.grants.needs import NO_NEEDS, Needs, Sometimes
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters


class Announcement(NamedTuple):
    """What is to be told of what a command has done, beside its value."""

    output: str
    payload: Mapping[str, Any]


class Earlier(NamedTuple):
    """How to find that a command was carried out before, where no ledger tells and a procedure wouldn't look.

    Parameters
    ----------
    find
        Returns the answer of then; None if it wasn't.
    tables
        Those in which it looks.
    """

    find: Callable[[Connection, Any], Any]
    tables: frozenset[str]


@dataclass(frozen=True)
class Command:
    """A write command.

    Parameters
    ----------
    parameters
        Model of what it reads from the message and the recipe.
    write
        Writes that within the caller's transaction, and returns a JSON value.
    is_repeatable
        Written twice is the same as written once, so the ledger needn't know of it.
    entry
        Returns what names the write in the ledger whichever message asks for it; None: each message has its own.
    announce
        Returns what to tell others, from the parameters and the value.
    needs
        The rights on tables that it needs whatever it's called with.
    sometimes
        What it needs beside, for some parameters.
    earlier
        How to find what was written before by a procedure; None: it can't be told from others of its kind.
    """

    parameters: type[CommandParameters]
    write: Callable[[Connection, Any], Any]
    is_repeatable: bool = False
    entry: Callable[[Any], str | None] | None = None
    announce: Callable[[Any, Any], Announcement] | None = None
    needs: Needs = NO_NEEDS
    sometimes: tuple[Sometimes, ...] = ()
    earlier: Earlier | None = None

    @property
    def all_needs(self) -> tuple[Needs, ...]:
        """What it needs always, and what for some parameters."""
        return (self.needs, *(more.needs for more in self.sometimes))

    def needs_for(self, parameters: CommandParameters) -> Needs:
        """Return the rights that it needs with these parameters."""
        return reduce(or_, (more.needs for more in self.sometimes if more.applies(parameters)), self.needs)


class CommandCall(NamedTuple):
    """A command that is to be carried out: its name, and the parameters that it's given."""

    name: str
    command: Command
    parameters: CommandParameters


CarryOut = Callable[[CommandCall], Any]
"""Carries out a command, and returns its value: a JSON value."""
