"""Molecular replacement: runs of dimple and the like, with their program, its files, and the blobs of density found."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Final

from pydantic import AllowInfNan, Field
from sqlalchemy import Connection, Table, select

from tasks.ispyb_access.writing.commands.command import Command
from tasks.ispyb_access.writing.grants.needs import Sometimes, changes, inserts, inserts_once
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, Identity, LocalTime
from tasks.ispyb_access.writing.rows.row_parameters import In, RowParameters, table
from tasks.ispyb_access.writing.rows.writing_rows import (
    Values,
    insert_once,
    insert_row,
    insert_rows,
    update_row,
    upsert_row,
)

RUN = table("MXMRRun")
BLOB = table("MXMRRunBlob")
PROGRAM = table("AutoProcProgram")
FILE = table("AutoProcProgramAttachment")


class MolecularReplacement(RowParameters):
    """A run of molecular replacement on scaled data."""

    table: ClassVar[Table] = RUN

    id: Annotated[Identity | None, In("mxMRRunId")] = Field(
        None, description="Changes this one; else a new one is made"
    )
    scaling_id: Annotated[Identity, In("autoProcScalingId")]
    r_start: Annotated[float | None, In("rValueStart")] = None
    r_end: Annotated[float | None, In("rValueEnd")] = None
    rfree_start: Annotated[float | None, In("rFreeValueStart")] = None
    rfree_end: Annotated[float | None, In("rFreeValueEnd")] = None
    success: Annotated[bool | None, In("processingStatus", PROGRAM.name)] = None
    message: Annotated[str | None, In("processingMessage", PROGRAM.name)] = None
    pipeline: Annotated[str | None, In("processingPrograms", PROGRAM.name)] = None
    cmd_line: Annotated[str | None, In("processingCommandLine", PROGRAM.name)] = None
    starttime: Annotated[LocalTime, In("processingStartTime", PROGRAM.name)] = Field(
        None, description="Now if it isn't given"
    )
    endtime: Annotated[LocalTime, In("processingEndTime", PROGRAM.name)] = None
    run_dir: str | None = Field(None, description="Folder of the files")
    input_coord_file: str | None = None
    input_mtz_file: str | None = None
    output_coord_file: str | None = None
    output_mtz_file: str | None = None
    log_file: str | None = None

    def files(self) -> list[dict[str, Any]]:
        """Return the rows of AutoProcProgramAttachment, by what they are."""
        # The five files, types and ranks of the procedure upsert_mrrun.
        given = (
            ("Input", self.input_coord_file, None),
            ("Input", self.input_mtz_file, None),
            ("Result", self.output_coord_file, None),
            ("Result", self.output_mtz_file, None),
            ("Log", self.log_file, 0),
        )
        return [{"fileType": kind, "importanceRank": rank, **self._place(file)} for kind, file, rank in given if file]

    def _place(self, file: str) -> dict[str, str | None]:
        """Name a file within the run's folder; one that is elsewhere, within its own."""
        path = PurePosixPath(file)
        folder = PurePosixPath(self.run_dir) if self.run_dir else None
        if folder is not None and (path.is_relative_to(folder) or not path.is_absolute()):
            name = path.relative_to(folder) if path.is_absolute() else path
            return {"filePath": str(folder), "fileName": str(name)}
        return {"filePath": str(path.parent) if path.is_absolute() else None, "fileName": path.name}


class DimpleFailure(CommandParameters):
    """A run of dimple that came to nothing."""

    scaling_id: Identity
    directory: str | None = None

    def as_run(self) -> MolecularReplacement:
        """Return it as a run, which failed nobody knows why."""
        return MolecularReplacement(
            scaling_id=self.scaling_id,
            pipeline="dimple",
            success=False,
            message="Unknown error",
            run_dir=self.directory,
        )


class NearestAtom(RowParameters):
    """The atom next to a blob."""

    table: ClassVar[Table] = BLOB

    name: Annotated[str, In("nearestAtomName")]
    chain_id: Annotated[str, In("nearestAtomChainId")]
    res_seq: Annotated[int | None, In("nearestAtomResSeq")]
    res_name: Annotated[str, In("nearestAtomResName")]


class BlobParameters(RowParameters):
    """Density that the model doesn't explain."""

    table: ClassVar[Table] = BLOB

    view1: str | None = None
    view2: str | None = None
    view3: str | None = None
    file_path: str | None = None
    height: float | None = Field(None, description="σ")
    occupancy: float | None = None
    nearest_atom_distance: float | None = Field(None, description="Å")
    map_type: str | None = Field(None, description="anomalous or difference")


class RunBlob(BlobParameters):
    """A blob of a run that is written already."""

    id: Annotated[Identity | None, In("mxMRRunBlobId")] = Field(
        None, description="Changes this one; else a new one is made"
    )
    mxmr_run_id: Identity
    x: float | None = None
    y: float | None = None
    z: float | None = None
    nearest_atom_name: str | None = None
    nearest_atom_chain_id: str | None = None
    nearest_atom_res_name: str | None = None
    nearest_atom_res_seq: int | None = None


Coordinate = Annotated[float, AllowInfNan(True)]
"""One that is no number becomes NULL when it's written, as other figures do."""


class ResultBlob(BlobParameters):
    """A blob that comes with its run's result."""

    xyz: tuple[Coordinate, Coordinate, Coordinate]
    nearest_atom: NearestAtom | None = None

    def row(self, of: Table | None = None) -> dict[str, Any]:
        """Return the row of MXMRRunBlob, without its run."""
        no_atom = {column.name: None for column in NearestAtom.columns().values()}
        atom = self.nearest_atom.row() if self.nearest_atom else no_atom
        return {**super().row(of), **dict(zip("xyz", self.xyz, strict=True)), **atom}


class ResultRun(RowParameters):
    """What came of a run."""

    table: ClassVar[Table] = RUN

    auto_proc_scaling_id: Identity
    auto_proc_program_id: Identity | None = Field(None, description="A new program is made if it isn't given")
    rwork_start: Annotated[float | None, In("rValueStart")] = None
    rwork_end: Annotated[float | None, In("rValueEnd")] = None
    rfree_start: Annotated[float | None, In("rFreeValueStart")] = None
    rfree_end: Annotated[float | None, In("rFreeValueEnd")] = None
    space_group: str | None = None
    llg: Annotated[float | None, In("LLG")] = None
    tfz: Annotated[float | None, In("TFZ")] = None


class ResultProgram(RowParameters):
    """The program of a result, which has ended."""

    table: ClassVar[Table] = PROGRAM

    command_line: Annotated[str, In("processingCommandLine")] = Field(description="Cut at 255 characters")
    programs: Annotated[str, In("processingPrograms")]
    status: Annotated[bool, In("processingStatus")]
    message: Annotated[str | None, In("processingMessage")] = None
    start_time: Annotated[LocalTime, In("processingStartTime")]
    end_time: Annotated[LocalTime, In("processingEndTime")]


class ResultFile(RowParameters):
    """A file of a result."""

    table: ClassVar[Table] = FILE

    file_type: str = Field(description="log, result, graph, debug or input")
    file_path: str
    file_name: str
    timestamp: Annotated[LocalTime, In("recordTimeStamp")] = None
    importance_rank: int | None = None


class MolecularReplacementResult(CommandParameters):
    """A run with its program, its files, and the blobs that were found."""

    mxmrrun: ResultRun
    auto_proc_program: ResultProgram
    blobs: tuple[ResultBlob, ...] = ()
    attachments: tuple[ResultFile, ...] = ()


def insert_mxmr_run(connection: Connection, run: MolecularReplacement) -> int:
    """Write a run, its program and the program's files, or change what is given of them; return its mxMRRunId.

    A file that the program has already isn't attached again.

    Raises
    ------
    MessageRefused
        There is no run of this number.
    """
    number, program = _insert_run(connection, run) if run.id is None else _change_run(connection, run, run.id)
    for file in run.files():
        _attach(connection, program, file, run.endtime)
    return number


def _insert_run(connection: Connection, run: MolecularReplacement) -> tuple[int, int]:
    """Write a run and its program; return their numbers. The program comes first: nothing has to be changed then."""
    program = insert_row(connection, PROGRAM, _started(run))
    return insert_row(connection, RUN, run.row() | {"autoProcProgramId": program}), program


def _change_run(connection: Connection, run: MolecularReplacement, number: int) -> tuple[int, int]:
    """Change what is given of a run and of its program, and return their numbers; a run may have no program yet."""
    update_row(connection, RUN, number, run.row())
    program: int | None = connection.scalar(select(RUN.c.autoProcProgramId).where(RUN.c.mxMRRunId == number))
    if program is None:
        program = insert_row(connection, PROGRAM, _started(run))
        update_row(connection, RUN, number, {"autoProcProgramId": program})
    else:
        update_row(connection, PROGRAM, program, _state(run))
    return number, program


def _state(run: MolecularReplacement) -> dict[str, Any]:
    return run.row(of=PROGRAM) | {"recordTimeStamp": run.endtime}


def _started(run: MolecularReplacement) -> dict[str, Any]:
    return _state(run) | {"processingStartTime": run.starttime or datetime.now()}


def store_dimple_failure(connection: Connection, failure: DimpleFailure) -> int:
    """Write that dimple failed, nobody knows why, and return the mxMRRunId."""
    return insert_mxmr_run(connection, failure.as_run())


def insert_mxmr_run_blob(connection: Connection, blob: RunBlob) -> int:
    """Write a blob of a run, or change what is given of it, and return its mxMRRunBlobId.

    Raises
    ------
    MessageRefused
        There is no blob of this number.
    """
    return upsert_row(connection, BLOB, blob.id, blob.row())


def insert_dimple_result(connection: Connection, result: MolecularReplacementResult) -> int:
    """Write a run with its program, files and blobs, and return its mxMRRunId."""
    given = result.mxmrrun.auto_proc_program_id
    program = upsert_row(connection, PROGRAM, given, result.auto_proc_program.row())
    run = insert_row(connection, RUN, result.mxmrrun.row() | {"autoProcProgramId": program})
    insert_rows(connection, BLOB, [blob.row() | {"mxMRRunId": run} for blob in result.blobs])
    for file in result.attachments:
        _attach(connection, program, file.row(), file.timestamp)
    return run


def insert_metal_id_result(connection: Connection, result: MolecularReplacementResult) -> int:
    """Write where metal ions were found, in the form of a dimple result, and return its mxMRRunId."""
    return insert_dimple_result(connection, result)


def _attach(connection: Connection, program: int, file: Values, time: datetime | None) -> int:
    identity = {name: file[name] for name in ("fileType", "fileName", "filePath")}
    more = {"importanceRank": file["importanceRank"], "recordTimeStamp": time}
    return insert_once(connection, FILE, {"autoProcProgramId": program, **identity}, more)


OF_RUNS: Final = (
    Sometimes("a new one", lambda run: run.id is None, inserts(PROGRAM, RUN)),
    Sometimes("id", lambda run: run.id is not None, inserts(PROGRAM) | changes(PROGRAM, RUN)),
    Sometimes("files", lambda run: bool(run.files()), inserts_once(FILE)),
)
OF_RESULTS: Final = (
    Sometimes("a new program", lambda one: one.mxmrrun.auto_proc_program_id is None, inserts(PROGRAM)),
    Sometimes("auto_proc_program_id", lambda one: one.mxmrrun.auto_proc_program_id is not None, changes(PROGRAM)),
    Sometimes("blobs", lambda one: bool(one.blobs), inserts(BLOB)),
    Sometimes("attachments", lambda one: bool(one.attachments), inserts_once(FILE)),
)
OF_BLOBS: Final = (
    Sometimes("a new one", lambda blob: blob.id is None, inserts(BLOB)),
    Sometimes("id", lambda blob: blob.id is not None, changes(BLOB)),
)

COMMANDS: Final[Mapping[str, Command]] = {
    "insert_dimple_result": Command(
        MolecularReplacementResult, insert_dimple_result, needs=inserts(RUN), sometimes=OF_RESULTS
    ),
    "insert_metal_id_result": Command(
        MolecularReplacementResult, insert_metal_id_result, needs=inserts(RUN), sometimes=OF_RESULTS
    ),
    "insert_mxmr_run": Command(MolecularReplacement, insert_mxmr_run, sometimes=OF_RUNS),
    "insert_mxmr_run_blob": Command(RunBlob, insert_mxmr_run_blob, sometimes=OF_BLOBS),
    "store_dimple_failure": Command(DimpleFailure, store_dimple_failure, needs=inserts(PROGRAM, RUN)),
}
