"""What a writer reaches ISPyB with: its connections, its rights, and the procedures where those don't do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine

from blocks.ispyb_connection import safe_url, transaction
from tasks.ispyb_access.writing.commands import COMMANDS
from tasks.ispyb_access.writing.commands.image_quality import (
    PER_IMAGE,
    PerImageResult,
    insert_new_results,
    results_to_fill_in,
    store_per_image_results,
)
from tasks.ispyb_access.writing.grants.granted import granted_to
from tasks.ispyb_access.writing.grants.looking import with_reader
from tasks.ispyb_access.writing.grants.needs import Right
from tasks.ispyb_access.writing.refusals import ids_of, named
from tasks.ispyb_access.writing.ways import Way, Ways

if TYPE_CHECKING:
    from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter


class Access:
    """ISPyB as those see it who write to it.

    Parameters
    ----------
    engine
        As the user that writes.
    reading
        As a user that reads; None: there is no other.
    """

    def __init__(self, engine: Engine, reading: Engine | None) -> None:
        self.engine, self._reading = engine, reading
        self.ways = Ways(engine, reading)

    @cached_property
    def procedures(self) -> ProcedureWriter:
        """What calls procedures, connected when it first does."""
        from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter  # brings another driver

        return ProcedureWriter(self.engine)

    @property
    def reader(self) -> Engine:
        """ISPyB as whoever reads most."""
        return self._reading or self.engine

    def prepare(self, connection: Connection) -> Connection:
        """Have a connection that writes look things up as the user for reading, where its own may not."""
        return connection if self._reading is None else with_reader(connection, self._reading)

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write per-image results; a refusal names the first of them. Raises as `Writer.session` does.

        Who may add rows, but not change them, adds those of new images at once. What is to be filled in for images
        that have theirs is left to a procedure.
        """
        needs = COMMANDS[PER_IMAGE].needs
        if self.ways.find(PER_IMAGE, needs) is Way.SQL:
            with transaction(self.engine) as connection, named(PER_IMAGE, results[0], safe_url(self.engine)):
                store_per_image_results(connection, results)
            return
        rest = results
        if self.may_insert_images:
            with transaction(self.engine) as connection, named(PER_IMAGE, results[0], safe_url(self.engine)):
                is_all = insert_new_results(connection, results) == len(results)
            rest = [] if is_all else self._results_to_fill_in(results)
        if rest:
            self.ways.require(PER_IMAGE + ids_of(rest[0]), PER_IMAGE, needs)
            self.procedures.write_images(rest)

    @property
    def may_insert_images(self) -> bool:
        """Per-image results may be added, whether they may be changed or not."""
        granted = granted_to(self.engine)
        return all(granted.may(Right.INSERT, table) for table in COMMANDS[PER_IMAGE].needs.own)

    def close(self) -> None:
        """Close the connection to the procedures, if there is one; the engines are another's."""
        if "procedures" in vars(self):
            self.procedures.close()

    def _results_to_fill_in(self, results: Sequence[PerImageResult]) -> list[PerImageResult]:
        with transaction(self.engine, read_only=True) as connection:
            return results_to_fill_in(self.prepare(connection), results)
