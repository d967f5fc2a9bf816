"""Writing to ISPyB by the database's stored procedures, for sites whose grants forbid direct SQL."""

from tasks.ispyb_access.writing.procedures.procedure_writer import ProcedureWriter

__all__ = ["ProcedureWriter"]
