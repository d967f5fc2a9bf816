"""What a command does with which of ISPyB's tables, and so the rights that it needs there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, Final, NamedTuple

from sqlalchemy import Table


class Right(Flag):
    """A right on a table, by the name that SQL gives it."""

    SELECT = auto()
    INSERT = auto()
    UPDATE = auto()
    DELETE = auto()

    def __str__(self) -> str:
        return ", ".join(str(one.name) for one in self)


NONE = Right(0)
CHANGE = Right.SELECT | Right.UPDATE  # which row is to be changed is a question, too

Rights = Mapping[str, Right]
"""Rights by the tables' names."""


@dataclass(frozen=True)
class Needs:
    """The rights that a command needs to be carried out by SQL.

    Parameters
    ----------
    own
        What whoever writes has to be allowed itself.
    looked_up
        Tables in which it looks for rows that were there before, those that one statement reads together: one user has
        to be allowed all of these, be it the one for reading.
    asked
        Likewise, but if nobody may look, it goes on without.
    if_granted
        What it does beside, where whoever writes may; else it finds another way.
    """

    own: Rights = field(default_factory=dict)
    looked_up: frozenset[frozenset[str]] = frozenset()
    asked: frozenset[frozenset[str]] = frozenset()
    if_granted: Rights = field(default_factory=dict)

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            _joined(self.own, other.own),
            self.looked_up | other.looked_up,
            self.asked | other.asked,
            _joined(self.if_granted, other.if_granted),
        )

    @property
    def read(self) -> frozenset[str]:
        """The tables in which it looks for rows, as somebody."""
        return frozenset[str]().union(*self.looked_up, *self.asked)

    @property
    def tables(self) -> frozenset[str]:
        """All tables that it has to do with."""
        return frozenset({*self.own, *self.if_granted, *self.read})


NO_NEEDS: Final = Needs()


class Sometimes(NamedTuple):
    """What a command needs beside, for some of its parameters.

    Parameters
    ----------
    given
        The parameters, in words.
    applies
        Tells whether these are such parameters.
    """

    given: str
    applies: Callable[[Any], bool]
    needs: Needs


def inserts(*tables: Table) -> Needs:
    """Return the needs of what adds rows."""
    return Needs({table.name: Right.INSERT for table in tables})


def changes(*tables: Table) -> Needs:
    """Return the needs of what changes rows that are there."""
    return Needs({table.name: CHANGE for table in tables})


def looks_up(*tables: Table) -> Needs:
    """Return the needs of a statement that looks for rows that were there before."""
    return Needs(looked_up=frozenset({_names(tables)}))


def asks(*tables: Table) -> Needs:
    """Return the needs of a statement that looks for rows if somebody may."""
    return Needs(asked=frozenset({_names(tables)}))


def inserts_once(*tables: Table) -> Needs:
    """Return the needs of what adds rows that aren't there yet."""
    return inserts(*tables) | Needs(looked_up=frozenset(frozenset({table.name}) for table in tables))


def _joined(some: Rights, others: Rights) -> Rights:
    return {name: some.get(name, NONE) | others.get(name, NONE) for name in {**some, **others}}


def _names(tables: Iterable[Table]) -> frozenset[str]:
    return frozenset(table.name for table in tables)
