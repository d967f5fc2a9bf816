"""On which outputs of a node item n of T is sent. Exact integer arithmetic, no I/O."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blocks.errors import MessageRefused

_COUNTED = re.compile(r"(select|every)-([0-9]{1,18})")


def is_selected(number: int, wanted: int, count: int) -> bool:
    """Tell whether an item is one of those chosen evenly from a series.

    Chooses exactly `min(wanted, count)` items, the first and the last among them (the first, where one is wanted),
    with at most two different spacings. Zocalo's formula; there one of several is a division by zero.

    Parameters
    ----------
    number
        The item, counted from 1.
    wanted
        How many items to choose, at least 1.
    count
        How many items there are.
    """
    if count <= wanted or number == 1:
        return True
    if wanted == 1:
        return False
    intervals = wanted - 1
    nearest = number * intervals // count
    return number in (count, 1 + nearest * count // intervals)


@dataclass(frozen=True)
class NamedOutputs:
    """The outputs of a watcher's node, parsed once.

    Parameters
    ----------
    named
        All output names. A watcher sends on these only: an unnamed (int or list) output gets nothing.
    numbered
        Outputs for one item, by its number.
    selections, periods
        (N, name) of the `select-N` and the `every-N` outputs, in the node's order.
    """

    named: frozenset[str]
    numbered: Mapping[int, str]
    selections: tuple[tuple[int, str], ...]
    periods: tuple[tuple[int, str], ...]

    @classmethod
    def of_output(cls, output: Any) -> "NamedOutputs":
        """Read the `output` of a recipe node.

        Raises
        ------
        MessageRefused
            A `select-` or `every-` name doesn't end in a number of 1 or more.
        """
        names = [str(name) for name in output] if isinstance(output, Mapping) else []
        counted = [(*_read_counted(name), name) for name in names if name.startswith(("select-", "every-"))]
        return cls(
            named=frozenset(names),
            numbered={int(name): name for name in names if name.isascii() and name.isdigit() and name[0] != "0"},
            selections=tuple((number, name) for kind, number, name in counted if kind == "select"),
            periods=tuple((number, name) for kind, number, name in counted if kind == "every"),
        )

    def for_item(self, number: int, count: int) -> Iterator[str]:
        """Yield the outputs for item `number` (from 1) of `count`, in Zocalo's order."""
        if number == 1 and "first" in self.named:
            yield "first"
        if "every" in self.named:
            yield "every"
        if number == count and "last" in self.named:
            yield "last"
        if number in self.numbered:
            yield self.numbered[number]
        for wanted, name in self.selections:
            if is_selected(number, wanted, count):
                yield name
        for period, name in self.periods:
            if (number - 1) % period == 0:
                yield name


def _read_counted(name: str) -> tuple[str, int]:
    match = _COUNTED.fullmatch(name)
    if match is None or int(match[2]) < 1:
        raise MessageRefused(
            f"the file watcher's output {name!r:.100} should end in a number of 1 or more, as in select-250 or "
            "every-10; correct the recipe"
        )
    return match[1], int(match[2])
