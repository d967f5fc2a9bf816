"""What the parameters of ISPyB's write commands have in common: models that take what recipes and programs send."""

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from tasks.ispyb_access.writing.rows.columns import LARGEST_INTEGER
from tasks.ispyb_access.writing.rows.leniency import is_no_number
from tasks.step.checking import SpeltFreely
from tasks.whole_number import is_grouped, takes_numbers_only

logger = logging.getLogger(__name__)

SEPARATORS = str.maketrans("", "", "_- ")
DATE_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y:%m:%d %H:%M:%S", "%Y%m%d %H%M%S", "%a %b %d %H:%M:%S %Y", "%d-%b-%Y %H:%M:%S")
COMPACT_DATE = re.compile(r"\d{14}")  # a database's way to write a time, not a number of seconds since 1970


DATE_PARTS = re.compile(r"(\d{4})([-/:]?)(\d\d)\2(\d\d)(?=[T ]|\d{6}\Z|\Z)")
ANY_TIME = TypeAdapter(datetime)


def _read_time(value: Any, info: ValidationInfo) -> Any:
    """Read a time in the forms that databases and programs write; a database's zero date is None."""
    if isinstance(value, bool):
        raise ValueError(f"expected a time, seen {value}")
    if not isinstance(value, str):
        return value
    if _is_zero_date(value.strip()):
        logger.warning("%s: %s is no date; it is left out", info.field_name, value)
        return None
    return _read_date(value)


def _is_zero_date(text: str) -> bool:
    """Tell whether a text is a time but for a year, month or day that is zero, as MySQL writes what isn't known."""
    parts = DATE_PARTS.match(text)
    if parts is None or all(map(int, parts.group(1, 3, 4))):
        return False
    year, month, day = (
        part if int(part) else some for part, some in zip(parts.group(1, 3, 4), ("2000", "01", "01"), strict=True)
    )
    try:
        ANY_TIME.validate_python(_read_date(parts[2].join((year, month, day)) + text[parts.end() :]))
    except ValueError:
        return False
    return True


def _read_date(value: str) -> datetime | str:
    """Read the forms of a time that aren't ISO 8601."""
    if COMPACT_DATE.fullmatch(value):
        return datetime.strptime(value, "%Y%m%d%H%M%S")
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(value.strip(), form)
        except ValueError:
            continue
    return value


def _local_time(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    try:
        local = value.astimezone().replace(tzinfo=None) if value.tzinfo else value
    except (OverflowError, OSError):
        raise ValueError(f"expected a time that has a local one, seen {value}") from None
    if local.year < 1970:
        raise ValueError(f"expected a time since 1970, seen {value}")
    return local.replace(microsecond=0)  # a database server would drop it too


def _no_boolean(value: Any) -> Any:
    # To pydantic, as to Python, True is 1.
    if isinstance(value, bool):
        raise ValueError(f"expected a number, seen {value}")
    return value


LocalTime = Annotated[datetime | None, BeforeValidator(_read_time), AfterValidator(_local_time)]
"""ISPyB's times are local, to the second, and don't say their zone. A zero date that is given is None, as in a row."""


def _as_several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Item = TypeVar("Item")

Several = Annotated[tuple[Item, ...], BeforeValidator(_as_several)]
"""A list, or a single one that needn't be in a list."""

Identity = Annotated[int, BeforeValidator(_no_boolean), Field(ge=1, le=LARGEST_INTEGER)]
"""The number of a row."""


def _number_or_none(value: Any, info: ValidationInfo) -> Any:
    if type(value) is int or not is_no_number(value):  # of an image's result, nearly always
        return value
    logger.warning("%s: %s is no number that can be written; it is left out", info.field_name, value)
    return None


WholeFigure = Annotated[
    Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)] | None, BeforeValidator(_number_or_none)
]
"""A whole number that was measured or computed: NaN stands for none, as it does for figures with fractions."""


class CommandParameters(BaseModel, SpeltFreely):
    """Base of a command's parameters.

    Unknown keys are ignored, since a message brings more than one command needs. Names may be spelt in any case, with
    or without `_` and `-`: senders write `phiStart`, `phi_start` and, as ISPyB's procedures, `phistart`.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _read_names(cls, values: Any) -> Any:
        """Take "", None and what a recipe's substitution makes of None as absent."""
        if not isinstance(values, Mapping):
            return values
        names = _names(cls)  # the same as respelt(), in one go: this is done for every image
        read = {
            names[key]: value
            for key, value in values.items()
            if value is not None and (type(value) is not str or value not in ABSENT)
        }
        for name, value in read.items():
            if type(value) is str and "_" in value and is_grouped(value) and name in _numbers(cls):
                raise ValueError(f"expected a number without underscores as {name}, seen {value!r:.60}")
        return read

    @classmethod
    def respelt(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by the names that the model has for them; of several spellings the last one counts."""
        names = _names(cls)
        return {names[key]: value for key, value in values.items()}


ABSENT = ("", "None")


@lru_cache(maxsize=4096)
def squash(name: str) -> str:
    """Return a name as ISPyB's procedures would spell it: lower case, without separators."""
    return name.translate(SEPARATORS).lower()


class _Names(dict[Any, Any]):
    """A model's names for its fields by how messages spell them, which is worked out once; others stay as they are."""

    LIMIT = 1000  # messages bring any keys

    def __init__(self, by_squashed: Mapping[str, str]) -> None:
        super().__init__()
        self._by_squashed = by_squashed

    def __missing__(self, key: Any) -> Any:
        name = self._by_squashed.get(squash(key), key) if isinstance(key, str) else key
        if len(self) < self.LIMIT:
            self[key] = name
        return name


@cache
def _numbers(model: type[BaseModel]) -> frozenset[str]:
    """Return a model's names for the fields that are numbers."""
    names = _names(model)
    fields = model.model_fields.items()
    return frozenset(names[name] for name, field in fields if takes_numbers_only(field.annotation))


@cache
def _names(model: type[BaseModel]) -> _Names:
    names: dict[str, str] = {}
    for field_name, field in model.model_fields.items():
        choices = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else [field.alias]
        aliases = [choice for choice in choices if isinstance(choice, str)]
        names |= {squash(name): (aliases or [field_name])[0] for name in (field_name, *aliases)}
    return _Names(names)
