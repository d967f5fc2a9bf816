"""What a site's users may do in ISPyB, command by command: by SQL, by procedures, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from sqlalchemy import Engine

from tasks.ispyb_access.writing.commands import BUFFER_COMMANDS, COMMANDS, Command
from tasks.ispyb_access.writing.composite_commands import BUFFER
from tasks.ispyb_access.writing.grants.granted import forget, granted_to, inactive_roles, may_create
from tasks.ispyb_access.writing.grants.needs import NO_NEEDS, Needs
from tasks.ispyb_access.writing.grants.procedures import grants_to_call, misfits
from tasks.ispyb_access.writing.ledger import RIGHTS as OF_LEDGER
from tasks.ispyb_access.writing.ledger import TABLE as LEDGER
from tasks.ispyb_access.writing.procedures.coverage import NOT_COVERED, called
from tasks.ispyb_access.writing.procedures.procedure_writer import require_procedures
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
    unfound
        Likewise, with which what was written before would be found when it comes again, by the names of the commands
        that write it.
    has_ledger
        The writer has its ledger, or may make it: it does when it first writes.
    """

    commands: tuple[CommandRights, ...]
    unread: tuple[str, ...]
    inactive_roles: tuple[tuple[str, str], ...]
    unfound: Mapping[str, tuple[str, ...]]
    has_ledger: bool

    @property
    def lacks_any(self) -> bool:
        """Something can't be written or read at all."""
        return bool(self.unread) or any(command.way is Way.FORBIDDEN for command in self.commands)

    @property
    def is_unlimited(self) -> bool:
        """All can be written by SQL, as the one user, and read."""
        return not self.unread and all(command.way is Way.SQL for command in self.commands)


def check_rights(writing: Engine, reading: Engine | None, *, only_procedures: bool = False) -> UserRights:
    """Ask a server what the users who write and read may do.

    Parameters
    ----------
    writing
        ISPyB, as the user that writes.
    reading
        The same as the user that reads; None: the one that writes does.
    only_procedures
        The site has chosen to write by procedures, whatever the grants.

    Raises
    ------
    DatabaseUnavailable
        The database can't be reached.
    ConfigurationError
        It refuses a user altogether, or is of a kind that has no procedures though all is to be written by them.
    """
    for engine in (writing, reading):
        if engine is not None:
            forget(engine)  # what is told is what is so now
    ways = Ways(writing, reading)
    found = _by_procedures(writing) if only_procedures else _by_any_way(ways)
    inactive = tuple(
        (role, granted_to(engine).user)
        for engine in (writing, reading)
        if engine is not None
        for role in inactive_roles(engine)
    )
    unfound = {name: ways.grants_to_find(one.needs) for name, one in COMMANDS.items() if not only_procedures}
    return UserRights(
        commands=tuple(sorted(found, key=lambda one: one.name)),
        unread=ways.grants_for_reading(READ),
        inactive_roles=inactive,
        unfound={name: statements for name, statements in unfound.items() if statements},
        has_ledger=not granted_to(writing).missing(OF_LEDGER) or may_create(writing, LEDGER.name),
    )


def _by_any_way(ways: Ways) -> Iterator[CommandRights]:
    for name, command in COMMANDS.items():
        yield from _of_command(ways, name, command)
    yield _of_needs(ways, BUFFER, "", reduce(or_, (command.needs for command in BUFFER_COMMANDS.values())))


def _of_command(ways: Ways, name: str, command: Command) -> Iterator[CommandRights]:
    """Yield a command's ways: one if it's the same whatever its parameters, else one for each kind of these."""
    needs = {one.given: command.needs | one.needs for one in command.sometimes}
    if command.needs != NO_NEEDS:
        needs = {"": command.needs, **needs}
    found = [_of_needs(ways, name, given, needs_then) for given, needs_then in needs.items()]
    if len({one.way for one in found}) > 1:
        yield from found
    else:
        way, everything = found[0].way, reduce(or_, needs.values())
        yield CommandRights(name, "", way, ways.lack(name, everything) if way is Way.FORBIDDEN else None)
    if found[0].way is Way.NEW_BY_SQL and ways.find_for_known_images() is Way.FORBIDDEN:
        yield CommandRights(name, "known images", Way.FORBIDDEN, ways.lack(name, command.needs))


def _of_needs(ways: Ways, name: str, given: str, needs: Needs) -> CommandRights:
    way = ways.find(name, needs, given)
    return CommandRights(name, given, way, ways.lack(name, needs, given) if way is Way.FORBIDDEN else None)


def _by_procedures(writing: Engine) -> Iterator[CommandRights]:
    require_procedures(writing)
    for name in COMMANDS:
        if name in NOT_COVERED:
            lack = Lack((), (), (f"No procedure does that: {NOT_COVERED[name]}",))
            yield CommandRights(name, "", Way.FORBIDDEN, lack)
            continue
        calls = called(name)
        lack = Lack((), grants_to_call(writing, calls), misfits(writing, calls))
        is_forbidden = bool(lack.procedures or lack.hints)
        yield CommandRights(name, "", Way.FORBIDDEN if is_forbidden else Way.PROCEDURES, lack if is_forbidden else None)
    yield CommandRights(
        BUFFER, "", Way.FORBIDDEN, Lack((), (), (f"No procedure does that: {NOT_COVERED['keep_reference']}",))
    )
