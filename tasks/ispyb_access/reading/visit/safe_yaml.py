"""YAML that anybody may have written: of a size that people write, and of plain values, before anything is made of it.

An alias stands for all that its anchor has. With aliases of aliases, 362 bytes are 10^9 values; brackets in brackets
end libyaml's composer, and the process with it. So a text's events are counted first, of which there is one for each
value as it's written, with what the aliases among them stand for.
"""

from __future__ import annotations

from typing import Any

import yaml

MOST_VALUES = 10_000
MOST_LEVELS = 20
LONGEST_SCALAR = 1000  # characters

# libyaml's is 10 times as quick, where PyYAML was built with it
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = frozenset({None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))})
_MESSAGE = 200  # characters of a parser's message
_FAULTS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What PyYAML raises for values that are no date, number, … though they look like one."""


class UnsafeYAML(ValueError):
    """A text isn't YAML, or is more than people write."""


def load_plain(text: bytes) -> Any:
    """Read YAML.

    Raises
    ------
    UnsafeYAML
        It can't be read, or is more than people write; the message shows nothing of the text.
    """
    try:
        _check(text)
        return yaml.load(text, _LOADER)
    except UnsafeYAML:
        raise
    except _FAULTS as error:
        raise UnsafeYAML(_describe(error)) from None


def _describe(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem!s:.{_MESSAGE}}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"byte or character {error.position}: {error.reason}"
    return f"{type(error).__name__}: {error!s:.{_MESSAGE}}"


def _check(text: bytes) -> None:
    _require(_has_usual_directives(text), "no directives but one %YAML")
    counts = _Counts()
    for event in yaml.parse(text, _LOADER):
        counts.add(event)


def _has_usual_directives(text: bytes) -> bool:
    """Tell whether there's at most a %YAML at the start of a line: of many %TAG, libyaml compares each with each."""
    encoding = "utf-16" if text.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    lines = text.decode(encoding, errors="replace").splitlines()
    directives = [line for line in lines if line.removeprefix("\ufeff").startswith("%")]
    return len(directives) <= 1 and all("%YAML" in line for line in directives)


class _Counts:
    """How many values a text stands for, as its events come."""

    def __init__(self) -> None:
        self._sizes = [0]  # of the collections that are open, innermost last
        self._anchors: list[str | None] = []
        self._size_of: dict[str, int] = {}

    def add(self, event: yaml.Event) -> None:
        """Count an event."""
        if isinstance(event, yaml.AliasEvent):
            self._count(self._of_alias(str(event.anchor)))
        elif isinstance(event, yaml.ScalarEvent):
            _require(len(event.value) <= LONGEST_SCALAR, f"values of at most {LONGEST_SCALAR} characters")
            self._close(event.anchor, event.tag, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            _require_plain(event.tag)
            _require(len(self._anchors) < MOST_LEVELS, f"at most {MOST_LEVELS} levels of lists and mappings")
            self._sizes.append(1)
            self._anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(self._anchors.pop(), None, self._sizes.pop())

    def _close(self, anchor: str | None, tag: str | None, size: int) -> None:
        _require_plain(tag)
        if anchor is not None:
            self._size_of[anchor] = size
        self._count(size)

    def _count(self, size: int) -> None:
        self._sizes[-1] += size
        _require(
            sum(self._sizes) <= MOST_VALUES, f"at most {MOST_VALUES} values, aliases counted as what they stand for"
        )

    def _of_alias(self, anchor: str) -> int:
        _require(anchor not in self._anchors, "no alias within what it stands for")
        return self._size_of.get(anchor, 1)  # an unknown one the composer refuses


def _require_plain(tag: str | None) -> None:
    _require(tag in _PLAIN_TAGS, "plain values, without tags such as !!python")


def _require(is_so: bool, expected: str) -> None:
    if not is_so:
        raise UnsafeYAML(f"expected {expected}")
