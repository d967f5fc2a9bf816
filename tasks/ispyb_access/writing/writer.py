"""What writes to ISPyB: the one interface behind which a site chooses how.

`SqlWriter` is the default: whatever a message causes is one transaction, with an entry in the ledger. A command for
which the user lacks rights on a table is carried out by the database's procedures, which can promise less.
`ProcedureWriter` does nothing but that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import Engine

from blocks.settings import Settings
from blocks.site_ispyb import writer_kind
from tasks.ispyb_access.writing.access import Access
from tasks.ispyb_access.writing.answers import Answer
from tasks.ispyb_access.writing.commands import CommandCall
from tasks.ispyb_access.writing.commands.image_quality import PerImageResult
from tasks.ispyb_access.writing.ledger import has_ledger
from tasks.ispyb_access.writing.sql_session import SqlSession


class Session(Protocol):
    """Carries out the commands of one piece of work."""

    @property
    def left(self) -> str:
        """What of a list stays written if a command fails now, in words."""
        ...

    def __call__(self, call: CommandCall) -> Any:
        """Carry out a command, and return its value: a JSON value."""
        ...


class Writer(Protocol):
    """Writes to ISPyB. Its methods wait for the database: call them in a thread."""

    def session(self, entry: str | None) -> AbstractContextManager[Session]:
        """Give what carries out the commands of one piece of work; they are written when the context ends.

        Parameters
        ----------
        entry
            What names the work, always the same for the same work: done before under this name, its commands aren't
            carried out again but have the same answers. None: it needn't or can't be known again.

        Raises
        ------
        MessageRefused
            ISPyB can't take what a command would write.
        DatabaseUnavailable
            A fault that can pass; the work may be tried again from its start.
        ConfigurationError
            The credentials, grants or tables don't do.
        """
        ...

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write many per-image results at once; twice is the same as once. Raises as `session` does."""
        ...

    def close(self) -> None:
        """Close the connections that are the writer's own."""
        ...


class SqlWriter:
    """Writes by SQL of its own where the grants allow it, else by procedures.

    Parameters
    ----------
    engine
        ISPyB; whoever opened it closes it.
    reading
        The same ISPyB as a user that reads, for what `engine`'s user may not; None: there is no other.
    """

    def __init__(self, engine: Engine, reading: Engine | None = None) -> None:
        self._access = Access(engine, reading)
        self._unfinished: dict[str, list[Answer]] = {}

    @contextmanager
    def session(self, entry: str | None) -> Iterator[SqlSession]:
        """Open a transaction: all of it is written or nothing, and only once under an entry's name.

        Where procedures have to help it's piece by piece. Tried again for a fault that passes, the work goes on from
        its last piece; in another process it does so if there is a ledger.
        """
        with SqlSession(self._access, entry, has_ledger(self._access.engine), self._unfinished) as session:
            yield session

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write the results in one transaction, but for what procedures have to; a refusal names the first of them."""
        if results:
            self._access.write_images(results)

    def close(self) -> None:
        """Close the connection to the procedures; the engines are another's."""
        self._access.close()


def open_writer(settings: Settings, engine: Engine, reading: Engine | None = None) -> Writer:
    """Return the writer that the site has chosen; the caller closes it.

    Parameters
    ----------
    settings
        Say which.
    engine, reading
        ISPyB for writing, and for reading if that is as another user.

    Raises
    ------
    ConfigurationError
        The database isn't one for it.
    DatabaseUnavailable
        The Prefect API, which may hold the choice, doesn't answer.
    """
    if writer_kind(settings) == "sql":
        return SqlWriter(engine, reading)
    from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter  # which brings another driver

    return ProcedureWriter(engine)
