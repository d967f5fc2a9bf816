"""The file watcher's parameters, and the source that they name: a pattern, a list or an HDF5 master."""

from contextlib import suppress
from typing import Any, Final

from pydantic import ConfigDict, Field, model_validator

from blocks.errors import MessageRefused
from tasks.file_pattern import FilePattern
from tasks.file_watcher.hdf5_images import Hdf5Images
from tasks.file_watcher.sources import ListedFiles, NumberedFiles, Source
from tasks.step import StepParameters
from tasks.whole_number import whole_number

LONGEST_S: Final = 7 * 86400  # a visit's time and more; a watcher that waits longer waits for nothing


class WatchParameters(StepParameters):
    """Parameters of a file watcher's node.

    What to watch is read by `open_source` only as far as its mode needs it, as Zocalo does: an unused key may hold
    anything. Times are in seconds.
    """

    model_config = ConfigDict(alias_generator=lambda name: name.rstrip("_").replace("_", "-"))

    pattern: Any = None
    pattern_start: Any = None
    pattern_end: Any = None
    list_: Any = None
    hdf5: Any = None
    burst_limit: int = Field(100, ge=1)
    burst_wait: float = Field(0, ge=0, le=LONGEST_S, allow_inf_nan=False)
    timeout: float = Field(3600, ge=0, le=LONGEST_S, allow_inf_nan=False)
    timeout_first: float | None = Field(None, ge=0, le=LONGEST_S, allow_inf_nan=False)
    log_timeout_as_info: bool = False
    expected_per_image_delay: Any = None

    # `{$REPLACE:name}` leaves null where the name is unknown.
    @model_validator(mode="before")
    @classmethod
    def _null_means_unset(cls, values: Any) -> Any:
        return (
            {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values
        )

    @property
    def patience_first(self) -> float:
        """Seconds to wait for the first item."""
        return self.timeout if self.timeout_first is None else self.timeout_first


def open_source(parameters: WatchParameters) -> Source:
    """Return what to watch: the pattern if there is one, else the list, else the HDF5 master.

    Raises
    ------
    MessageRefused
        None of the three is given, or it can't be used; the message says what was expected.
    """
    if parameters.pattern:
        first = _whole_number("pattern-start", parameters.pattern_start)
        last = _whole_number("pattern-end", parameters.pattern_end)
        return NumberedFiles(_read_pattern(parameters.pattern), first, last - first + 1)
    if parameters.list_ is not None:
        return ListedFiles(_checked_list(parameters.list_))
    if parameters.hdf5 is not None:
        return Hdf5Images(_checked_path("hdf5", parameters.hdf5))
    raise MessageRefused(
        "the file watcher needs one of the parameters pattern, list or hdf5, and saw none; add it to the recipe"
    )


def _whole_number(name: str, value: Any) -> int:
    number = whole_number(value)
    if number is None:
        raise MessageRefused(
            f"the file watcher's parameter {name} should be a whole number, seen {value!r:.100}; correct the recipe"
        )
    return number


def _read_pattern(pattern: Any) -> FilePattern:
    if isinstance(pattern, str) and pattern != "None":
        with suppress(ValueError):
            return FilePattern.parse(pattern)
    raise MessageRefused(
        "the file watcher's parameter pattern should be a path with exactly one integer field, such as image_%05d.cbf, "
        f"seen {pattern!r:.200}"
    )


def _checked_list(entries: Any) -> tuple[str | None, ...]:
    if isinstance(entries, list | tuple) and all(entry is None or isinstance(entry, str) for entry in entries):
        return tuple(entries)
    raise MessageRefused(f"the file watcher's parameter list should be a list of paths, seen {entries!r:.200}")


def _checked_path(name: str, value: Any) -> str:
    if isinstance(value, str) and value not in ("", "None"):
        return value
    raise MessageRefused(f"the file watcher's parameter {name} should be a path, seen {value!r:.200}")
