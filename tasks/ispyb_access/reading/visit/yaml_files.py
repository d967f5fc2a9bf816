"""The YAML files that users write into their visit's folder."""

import logging
import math
import re
import reprlib
from typing import Any

from blocks.errors import PlazaError
from tasks.ispyb_access.reading.parameters import UnitCell
from tasks.ispyb_access.reading.visit.looking import LONGEST_YAML, YAMLText
from tasks.ispyb_access.reading.visit.safe_yaml import UnsafeYAML, load_plain

logger = logging.getLogger(__name__)

LONGEST_SPACE_GROUP = 80  # characters
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", re.ASCII)  # Python also reads `1_0` and `١٢`

_SEEN = reprlib.Repr()
_SEEN.maxlevel, _SEEN.maxlist, _SEEN.maxdict = 2, 8, 4


class InvalidYAML(PlazaError):
    """A file isn't YAML, or says something else than expected."""


def read_crystal(file: YAMLText) -> tuple[str, UnitCell | None]:
    """Read space group ('' if there's none) and unit cell from a user's file; what makes no sense is warned of.

    Raises
    ------
    InvalidYAML
        It can't be read, or is no mapping.
    """
    name, content = file["file"], _read(file) or {}
    if not isinstance(content, dict):
        raise InvalidYAML(f"{name}: expected `ispyb_unit_cell: [a, b, c, α, β, γ]` and `ispyb_space_group: …`")
    group, cell = content.get("ispyb_space_group"), content.get("ispyb_unit_cell")
    space_group, unit_cell = _space_group(group), _unit_cell(cell)
    if group and not space_group:
        seen = _SEEN.repr(group)
        logger.warning("%s: ispyb_space_group is left out: expected a space group, seen %s", name, seen)
    if cell and not unit_cell:
        seen = _SEEN.repr(cell)
        logger.warning("%s: ispyb_unit_cell is left out: expected three lengths and angles, seen %s", name, seen)
    return space_group, unit_cell


def read_groups(file: YAMLText) -> list[tuple[str, ...]]:
    """Read groups of names of folders: a list of lists.

    Raises
    ------
    InvalidYAML
        It can't be read, or is no list of lists of names.
    """
    content = _read(file) or []
    if not isinstance(content, list) or not all(_is_group(group) for group in content):
        raise InvalidYAML(f"{file['file']}: expected a list of lists of folder names, as in `- [well_1, well_2]`")
    return [tuple(str(name) for name in group) for group in content]


def _is_group(group: Any) -> bool:
    return isinstance(group, list) and not any(isinstance(name, list | dict | set) for name in group)


def _read(file: YAMLText) -> Any:
    text = file["text"]
    if text is None:
        raise InvalidYAML(f"{file['file']}: it can't be read: {file['fault']}")
    if len(text) > LONGEST_YAML:
        raise InvalidYAML(f"{file['file']}: expected at most {LONGEST_YAML // 1024} kB")
    try:
        return load_plain(text.encode("latin-1"))  # by which its bytes are written
    except UnsafeYAML as error:
        raise InvalidYAML(f"{file['file']}: it can't be read as YAML: {error}") from error


def _space_group(value: Any) -> str:
    """Return the symbol, or number, of a space group that cctbx knows; else ''."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    if isinstance(value, str) and (len(value) > LONGEST_SPACE_GROUP or not value.isprintable()):
        return ""
    from cctbx import sgtbx  # 0.2 s, and most visits have no such file

    try:
        text = str(value)
        sgtbx.space_group_symbols(text)
    except (RuntimeError, ValueError):  # ValueError: half a character, or thousands of digits
        return ""
    return text


def _unit_cell(value: Any) -> UnitCell | None:
    """Return six numbers, given as such or as a text with blanks or commas, if they can be a cell's."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) != 6 or not all(_is_number(part) for part in parts):
        return None
    try:
        a, b, c, alpha, beta, gamma = (float(part) for part in parts)
    except OverflowError:
        return None
    cell = (a, b, c, alpha, beta, gamma)
    is_cell = all(math.isfinite(number) and number > 0 for number in cell) and max(alpha, beta, gamma) < 180
    return cell if is_cell else None


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)
