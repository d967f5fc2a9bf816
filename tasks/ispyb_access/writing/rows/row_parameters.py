"""Parameters that are the columns of a row: a value that its column can't hold is refused before ISPyB is asked."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, get_args

from ispyb.sqlalchemy import Base
from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from sqlalchemy import Column, Float, Integer, Table

from tasks.ispyb_access.writing.rows.columns import fit, tell_of_no_number
from tasks.ispyb_access.writing.rows.command_parameters import CommandParameters, squash
from tasks.ispyb_access.writing.rows.leniency import is_figure, is_no_number

Count = Annotated[int, Field(ge=0)]
"""How many of something, or an image's number."""


def table(name: str) -> Table:
    """Return a table of ISPyB's."""
    found: Table = Base.metadata.tables[name]
    return found


@dataclass(frozen=True)
class In:
    """Annotates a parameter with the column that it's written to, where their names differ.

    Parameters
    ----------
    column
        Its name.
    of
        Name of the table, if it's another one than that of the model.
    """

    column: str
    of: str | None = None


class RowParameters(CommandParameters):
    """Parameters of a command that writes a row of `table`.

    A parameter goes to the column of its name, spelt in any way, or to the one that it's annotated with.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    table: ClassVar[Table]

    @classmethod
    def columns(cls) -> dict[str, Column[Any]]:
        """Return the columns that are written, by the fields' names."""
        return _columns(cls)

    def row(self, of: Table | None = None) -> dict[str, Any]:
        """Return the row of the model's table, or what it says of a row of another, by its columns' names."""
        wanted = self.table if of is None else of
        return {column.name: getattr(self, name) for name, column in self.columns().items() if column.table is wanted}

    @field_validator("*", mode="before")
    @classmethod
    def _is_a_number_if_it_has_to_be(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what Python takes for a number; take NaN for a figure that isn't given."""
        column = _numbers(cls).get(info.field_name or "")
        if column is None:
            return value
        if isinstance(value, bool):
            raise ValueError(f"expected a number, seen {value}")
        if is_no_number(value) and info.field_name in _left_out_at_will(cls) and is_figure(column):
            tell_of_no_number(column, value)
            return None
        return value

    @field_validator("*")
    @classmethod
    def _fits_its_column(cls, value: Any, info: ValidationInfo) -> Any:
        column = cls.columns().get(info.field_name or "")
        return value if column is None or isinstance(value, bool) else fit(column, value)


@cache
def _numbers(model: type[RowParameters]) -> dict[str, Column[Any]]:
    """Return the columns of numbers, by the fields' names; ISPyB has its smallest integers for yes and no too."""
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    choices = {name for name, kind in kinds.items() if bool in (kind, *get_args(kind))}
    numbers = {name for name, column in _columns(model).items() if isinstance(column.type, Integer | Float)}
    return {name: _columns(model)[name] for name in numbers - choices}


@cache
def _left_out_at_will(model: type[RowParameters]) -> frozenset[str]:
    """Return the fields that may be None."""
    return frozenset(name for name, field in model.model_fields.items() if type(None) in get_args(field.annotation))


@cache
def _columns(model: type[RowParameters]) -> dict[str, Column[Any]]:
    by_name = {squash(column.name): column for column in model.table.columns}
    found = {}
    for name, field in model.model_fields.items():
        mark = next((mark for mark in field.metadata if isinstance(mark, In)), None)
        column = _marked(model, mark) if mark else by_name.get(squash(name))
        if column is not None:
            found[name] = column
    return found


def _marked(model: type[RowParameters], mark: In) -> Column[Any]:
    return (table(mark.of) if mark.of else model.table).c[mark.column]
