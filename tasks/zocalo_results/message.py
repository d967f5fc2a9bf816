"""The message by which a beamline hears where its crystals are: a message between Zocalo's services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from blocks.errors import MessageRefused
from blocks.validation_faults import describe

HEADERS: Final = {"workflows-recipe": True}
"""By which the receivers know that a recipe comes with it; they don't take it without."""
_NODE: Final = 1
SUCCESS: Final = "success"


class Crystal(BaseModel):
    """What a beamline's device reads of a crystal; what else is said of it is handed on."""

    model_config = ConfigDict(frozen=True, extra="allow")

    centre_of_mass: tuple[float, float, float]
    max_voxel: tuple[int, int, int]
    max_count: float
    n_voxels: int
    total_count: float
    bounding_box: tuple[tuple[float, float, float], tuple[float, float, float]]


class Centring(BaseModel):
    """What X-ray centring says of a crystal in three dimensions; no results: there's none."""

    model_config = ConfigDict(frozen=True, extra="allow")

    results: list[Crystal]


def is_failure(payload: Mapping[str, Any]) -> bool:
    """Tell whether centring says of itself that it failed."""
    return bool(payload.get("status", SUCCESS) != SUCCESS)


def payload_for_device(payload: Any) -> dict[str, Any] | None:
    """Return what a device is told of a result; None: it has two dimensions, which make a device fail.

    A result without `results` says that there is no crystal. So does a failure, whatever crystals it has: the device
    looks at no `status`, and hears at once what else it would wait three minutes for.

    Raises
    ------
    MessageRefused
        It's no result of centring.
    """
    if not isinstance(payload, Mapping) or not {"results", "type"} & payload.keys():
        raise MessageRefused(
            f'expected the result of 3-D centring, {{"results": […], "status", "type": "3d"}}; seen {payload!r:.200}'
        )
    if payload.get("type", "3d") != "3d":
        return None
    results = payload.get("results", [])
    crystals = results if isinstance(results, list) else []
    if any(isinstance(crystal, Mapping) and "bounding_box" not in crystal for crystal in crystals):
        return None
    told = {**payload, "results": [] if is_failure(payload) else results}
    try:
        Centring.model_validate(told)
    except ValidationError as error:
        raise MessageRefused(
            f"expected the result of 3-D centring, with a list of crystals as `results`: {describe(error, most=3)}"
        ) from error
    return told


def message_body(
    node: Mapping[str, Any], queue: str, parameters: Mapping[str, Any], payload: Any, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a message of a recipe of one node, as the device's client unpacks it.

    Parameters
    ----------
    node
        Of the recipe that runs.
    parameters
        What the device reads of the node.
    """
    sent = {"service": node.get("service"), "queue": queue, "exchange": node.get("exchange"), "parameters": parameters}
    return {
        "environment": dict(environment),
        "payload": payload,
        "recipe": {
            str(_NODE): {name: value for name, value in sent.items() if value is not None},
            "start": [[_NODE, []]],
        },
        "recipe-path": [],
        "recipe-pointer": _NODE,
    }
