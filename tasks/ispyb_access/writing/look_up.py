"""Where a command's parameters come from: several places, one before the other, and the environment."""

from collections.abc import Mapping
from typing import Any

from tasks.ispyb_access.writing.commands.base import squash

LITERAL_KEYS = frozenset(map(squash, ("file_name", "file_path", "importance_rank")))  # file names may have a $ in them


def look_up(environment: Mapping[str, Any], *places: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's parameters, with `$name` filled in.

    `${name}` and `$name` are replaced from the environment, longest names first; unknown ones stay.

    Parameters
    ----------
    environment
        That of the message.
    places
        Where the parameters stand: what an earlier place says wins.
    """
    found: dict[str, Any] = {}
    for place in reversed(places):
        found.update(place)
    for key, value in found.items():
        if type(value) is str and "$" in value and squash(key) not in LITERAL_KEYS:
            found[key] = _fill(value, environment)
    return found


def _fill(value: str, environment: Mapping[str, Any]) -> str:
    for name in sorted(environment, key=len, reverse=True):
        for placeholder in (f"${{{name}}}", f"${name}"):
            value = value.replace(placeholder, str(environment[name]))
    return value
