"""Where a command's parameters come from: several places, one before the other, and the environment."""

from collections.abc import Mapping
from typing import Any

LITERAL_KEYS = frozenset({"file_name", "file_path", "importance_rank"})  # file names may have a $ in them


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
    names = sorted(environment, key=len, reverse=True)

    def fill(key: str, value: Any) -> Any:
        if not isinstance(value, str) or "$" not in value or key in LITERAL_KEYS:
            return value
        for name in names:
            for placeholder in (f"${{{name}}}", f"${name}"):
                value = value.replace(placeholder, str(environment[name]))
        return value

    found = {key: value for place in reversed(places) for key, value in place.items()}
    return {key: fill(key, value) for key, value in found.items()}
