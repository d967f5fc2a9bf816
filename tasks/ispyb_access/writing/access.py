"""What a writer reaches ISPyB with: its connections, its rights, and the procedures where those don't do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from tasks.ispyb_access.writing.grants.looking import with_reader
from tasks.ispyb_access.writing.refusals import named
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

    def prepare(self, connection: Connection) -> Connection:
        """Have a connection that writes look things up as the user for reading, where its own may not."""
        return connection if self._reading is None else with_reader(connection, self._reading)

    def write_images(self, results: Sequence[PerImageResult]) -> None:
        """Write per-image results; a refusal names the first of them. Raises as `Writer.session` does."""
        needs = COMMANDS[PER_IMAGE].needs
        way = self.ways.find(PER_IMAGE, needs)
        with self.ways.explaining(PER_IMAGE, needs, way=way):
            match way:
                case Way.NEW_BY_SQL:
                    self.add_images(results)
                case Way.PROCEDURES:
                    self.procedures.call_for_images(results)
                case _:
                    with self._writing_images(results) as connection:
                        store_per_image_results(connection, results)

    def add_images(self, results: Sequence[PerImageResult]) -> None:
        """Write results of images that have none, and leave it to a procedure to fill in those of the others.

        So does who may add rows, but not change them.
        """
        with self._writing_images(results) as connection:
            inserted = insert_new_results(connection, results)
        if inserted == len(results):
            return
        with transaction(self.engine, read_only=True) as connection:
            filled_in = results_to_fill_in(self.prepare(connection), results)
        self.procedures.call_for_images(filled_in)

    def close(self) -> None:
        """Close the connection to the procedures, if there is one; the engines are another's."""
        if "procedures" in vars(self):
            self.procedures.close()

    @contextmanager
    def _writing_images(self, results: Sequence[PerImageResult]) -> Iterator[Connection]:
        with transaction(self.engine) as connection, named(PER_IMAGE, results[0], safe_url(self.engine)):
            yield connection
