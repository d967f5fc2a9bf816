"""The YAML files that users write into their visit's folder."""

import logging
import math
from pathlib import Path
from typing import Any

import yaml

from blocks.errors import PlazaError
from tasks.ispyb_access.reading.parameters import UnitCell

logger = logging.getLogger(__name__)

LONGEST = 256 * 1024  # bytes: users write some lines, and anything larger is no such file

# libyaml's is 10 times as quick, where PyYAML was built with it
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class InvalidYAML(PlazaError):
    """A file isn't YAML, or says something else than expected."""


def read_crystal(file: Path) -> tuple[str, UnitCell | None]:
    """Read space group ('' if there's none) and unit cell from a user's file; what makes no sense is warned of.

    Raises
    ------
    InvalidYAML
        It can't be read, or is no mapping.
    """
    content = _read(file) or {}
    if not isinstance(content, dict):
        raise InvalidYAML(f"{file}: expected `ispyb_unit_cell: [a, b, c, α, β, γ]` and `ispyb_space_group: …`")
    group, cell = content.get("ispyb_space_group"), content.get("ispyb_unit_cell")
    space_group, unit_cell = _space_group(group), _unit_cell(cell)
    if group and not space_group:
        logger.warning("%s: ispyb_space_group is left out: expected a space group, seen %r", file, group)
    if cell and not unit_cell:
        logger.warning("%s: ispyb_unit_cell is left out: expected three lengths and angles, seen %r", file, cell)
    return space_group, unit_cell


def read_groups(file: Path) -> list[tuple[str, ...]]:
    """Read groups of names of folders: a list of lists.

    Raises
    ------
    InvalidYAML
        It can't be read, or is no list of lists.
    """
    content = _read(file) or []
    if not isinstance(content, list) or not all(isinstance(group, list) for group in content):
        raise InvalidYAML(f"{file}: expected a list of lists of folder names, as in `- [well_1, well_2]`")
    return [tuple(str(name) for name in group) for group in content]


def _read(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            text = stream.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise InvalidYAML(f"{file}: expected at most {LONGEST // 1024} kB")
        return yaml.load(text, _LOADER)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidYAML(f"{file}: it can't be read as YAML: {error}") from error


def _space_group(value: Any) -> str:
    """Return the symbol, or number, of a space group that cctbx knows; else ''."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    from cctbx import sgtbx  # 0.2 s, and most visits have no such file

    try:
        sgtbx.space_group_symbols(str(value))
    except RuntimeError:
        return ""
    return str(value)


def _unit_cell(value: Any) -> UnitCell | None:
    """Return six numbers, given as such or as a text with blanks or commas, if they can be a cell's."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) != 6 or any(isinstance(part, bool) for part in parts):
        return None
    try:
        a, b, c, alpha, beta, gamma = (float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    cell = (a, b, c, alpha, beta, gamma)
    is_cell = all(math.isfinite(number) and number > 0 for number in cell) and max(alpha, beta, gamma) < 180
    return cell if is_cell else None
