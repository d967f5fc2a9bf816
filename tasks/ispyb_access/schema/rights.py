"""What a site's users may do in ISPyB, command by command: by SQL, by procedures, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_
from typing import Final

from sqlalchemy import Engine

from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS, Command
from tasks.ispyb_access.writing.composite_commands import BUFFER
from tasks.ispyb_access.writing.grants.granted import granted_to, inactive_roles
from tasks.ispyb_access.writing.grants.needs import NO_NEEDS, Needs
from tasks.ispyb_access.writing.ledger import RIGHTS as OF_LEDGER
from tasks.ispyb_access.writing.ways import Lack, Way, Ways

READ: Final = (
    *("AutoProcIntegration", "AutoProcProgram", "AutoProcProgramAttachment", "BLSample", "BLSampleGroup"),
    *("BLSampleGroup_has_BLSample", "BLSession", "Container", "Crystal", "DataCollection"),
    *("DataCollectionFileAttachment", "DataCollectionGroup", "Detector", "DiffractionPlan", "EnergyScan", "Event"),
    *("EventChain", "EventType", "GridInfo", "ImageQualityIndicators", "PDB", "ProcessingJob"),
    *("ProcessingJobImageSweep", "ProcessingJobParameter", "ProcessingPipeline", "Proposal", "Protein"),
    *("Protein_has_PDB", "XrayCentring", "XrayCentringResult"),
)
"""What recipes' parameters and the overviews are read from."""


@dataclass(frozen=True)
class CommandRights:
    """How a command can be carried out.

    Parameters
    ----------
    name
        The command's.
    given
        With which parameters, in words; '' if it's the same with all.
    way
        By SQL, by procedures, or not at all.
    lack
        What would have to be granted, if it's not at all.
    """

    name: str
    given: str
    way: Way
    lack: Lack | None


@dataclass(frozen=True)
class UserRights:
    """What the users of an ISPyB may do there.

    Parameters
    ----------
    commands
        By name, those whose way depends on their parameters more than once.
    unread
        Statements that would let the user for reading read all that is read.
    inactive_roles
        Roles that were granted but aren't active, by the users who have them.
    has_ledger
        The writer has its ledger. One that may make tables makes it when it first writes.
    """

    commands: tuple[CommandRights, ...]
    unread: tuple[str, ...]
    inactive_roles: tuple[tuple[str, str], ...]
    has_ledger: bool

    @property
    def lacks_any(self) -> bool:
        """Something can't be written or read at all."""
        return bool(self.unread) or any(command.way is Way.NONE for command in self.commands)

    @property
    def is_unlimited(self) -> bool:
        """All can be written by SQL, as the one user, and read."""
        return not self.unread and all(command.way is Way.SQL for command in self.commands)


def check_rights(writing: Engine, reading: Engine | None) -> UserRights:
    """Ask a server what the users who write and read may do.

    Parameters
    ----------
    writing
        ISPyB, as the user that writes.
    reading
        The same as the user that reads; None: the one that writes does.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    ConfigurationError
        It refuses a user altogether.
    """
    ways = Ways(writing, reading)
    commands = chain.from_iterable(_of_command(ways, name, command) for name, command in COMMANDS.items())
    buffer = _of_needs(ways, BUFFER, "", reduce(or_, (command.needs for command in BUFFER_COMMANDS.values())))
    inactive = tuple(
        (role, granted_to(engine).user)
        for engine in (writing, reading)
        if engine is not None
        for role in inactive_roles(engine)
    )
    return UserRights(
        commands=tuple(sorted((*commands, buffer), key=lambda one: one.name)),
        unread=ways.grants_for_reading(READ),
        inactive_roles=inactive,
        has_ledger=not granted_to(writing).missing(OF_LEDGER),
    )


def _of_command(ways: Ways, name: str, command: Command) -> Iterator[CommandRights]:
    """Yield a command's ways: one if it's the same whatever its parameters, else one for each kind of these."""
    cases = [(one.given, command.needs | one.needs) for one in command.sometimes]
    if command.needs != NO_NEEDS:
        cases.insert(0, ("", command.needs))
    found = [_of_needs(ways, name, given, needs) for given, needs in cases]
    if len({one.way for one in found}) == 1:
        yield CommandRights(name, "", found[0].way, next((one.lack for one in found), None))
    else:
        yield from found


def _of_needs(ways: Ways, name: str, given: str, needs: Needs) -> CommandRights:
    way = ways.find(name, needs)
    return CommandRights(name, given, way, ways.lack(name, needs) if way is Way.NONE else None)
