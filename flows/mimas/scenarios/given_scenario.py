"""From a message's or a file's parameters, named as for Zocalo's Mimas, to the scenario that the rules judge."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from pydantic import ValidationError

from blocks.errors import UnknownDataCollection
from blocks.identifiers import Dcid, parse_dcid
from blocks.validation_faults import describe, reasons
from flows.mimas.scenario import (
    AnomalousScatterer,
    CloudGroup,
    DCClass,
    Event,
    ImageRange,
    Scenario,
    SpaceGroup,
    UnitCell,
)
from flows.mimas.scenarios.facts import PRECEDENCE, InvalidScenario, Warnings, bounded, class_of, detector_family
from flows.prefect_limits import LARGEST_DCID

# A recipe's placeholder that nobody filled, and what others were filled with where ISPyB says nothing
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_UNSET: Final = {"", "None", "False"}
_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
_CELL_CHARACTERS: Final = 300  # of a cell that is written as text

_CLOUD_FORM: Final = '{"visit_pattern": [beginnings of visits], "beamlines": [names], "recipes": [parts of names]}'


def scenario_from_parameters(parameters: Mapping[str, Any]) -> tuple[Scenario, tuple[str, ...]]:
    """Make the scenario of an event from what its message or file says.

    Parameters
    ----------
    parameters
        `dcid`, `event` and `beamline`; any of `dc_class`, `visit`, `run_status`, `sweep_list`, `unit_cell`,
        `space_group`, `diffraction_plan_info`, `preferred_processing`, `detectorclass` and `cloudbursting`. Others are
        ignored. What is empty, false, or a placeholder that nobody filled, counts as unset.

    Returns
    -------
    tuple[Scenario, tuple[str, ...]]
        The scenario, and a warning for each fact that makes no sense and so counts as unset.

    Raises
    ------
    InvalidScenario
        The dcid, the event, the beamline or a sweep is missing or makes no sense.
    """
    if not isinstance(parameters, Mapping):
        raise InvalidScenario(f"a scenario is expected to be an object of named values, seen {_seen(parameters)}")
    given = {name: value for name, value in parameters.items() if _is_set(value)}
    warnings = Warnings()
    dcid = _dcid(given.get("dcid"))
    try:
        scenario = Scenario(
            dcid=dcid,
            dc_class=_dc_class(given.get("dc_class"), warnings),
            event=_event(given.get("event")),
            beamline=_beamline(given.get("beamline")),
            visit=bounded(given.get("visit")),
            run_status=bounded(given.get("run_status")),
            detector_class=detector_family(given.get("detectorclass")),
            sweeps=_sweeps(given.get("sweep_list")),
            space_group=_space_group(given.get("space_group"), warnings),
            unit_cell=_unit_cell(given.get("unit_cell"), warnings),
            anomalous_scatterer=_scatterer(given.get("diffraction_plan_info"), warnings),
            preferred_processing=bounded(given.get("preferred_processing")),
            cloudbursting=_cloud_groups(given.get("cloudbursting"), warnings),
        )
    except ValidationError as error:
        raise InvalidScenario(f"scenario of data collection {dcid}: {describe(error)}") from error
    return scenario, warnings.all()


def _is_set(value: Any) -> bool:
    if isinstance(value, str):
        text = value.strip()
        return text not in _UNSET and not _PLACEHOLDER.fullmatch(text)
    return value is not None and value is not False


def _seen(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.60}"


def _dcid(value: object) -> Dcid:
    expected = f"dcid: expected the data collection's number, from 1 to {LARGEST_DCID}, or its digits as text, seen"
    try:
        dcid = parse_dcid(value)
    except UnknownDataCollection as error:
        raise InvalidScenario(f"{expected} {_seen(value)}") from error
    if dcid > LARGEST_DCID:
        raise InvalidScenario(f"{expected} {dcid}")
    return dcid


def _event(value: object) -> Event:
    name = _upper(value).replace("-", "_")
    if name not in Event.__members__:
        names = ", ".join(event.value for event in Event)
        raise InvalidScenario(f"event: expected one of {names}, seen {_seen(value)}")
    return Event[name]


def _beamline(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidScenario(f"beamline: expected its name as in ISPyB, such as i03, seen {_seen(value)}")
    return str(bounded(value.strip()))


def _dc_class(value: object, warnings: Warnings) -> DCClass:
    if isinstance(value, Mapping):
        return class_of({name: _holds(name, value[name], warnings) for name in PRECEDENCE if name in value})
    name = re.sub(r"[ -]+", "_", _upper(value))
    if name in DCClass.__members__:
        return DCClass[name]
    names = ", ".join(DCClass.__members__)
    warnings.add(f"dc_class: expected one of {names}, or an object of booleans, seen {_seen(value)}; UNDEFINED is used")
    return DCClass.UNDEFINED


def _holds(name: str, value: object, warnings: Warnings) -> bool:
    if not _is_set(value) or isinstance(value, bool):
        return value is True
    holds = _TRUTHS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if holds is None:
        warnings.leave_out(f"dc_class {name}", value, "expected true or false")
    return bool(holds)


def _upper(value: object) -> str:
    # Of other scripts' letters some become ASCII's
    return value.strip().upper() if isinstance(value, str) and value.isascii() else ""


def _sweeps(value: object) -> tuple[ImageRange, ...]:
    if not value:
        return ()
    if not _is_list(value):
        raise InvalidScenario(f"sweep_list: expected a list of [dcid, start, end], seen {_seen(value)}")
    return tuple(_sweep(number, sweep) for number, sweep in enumerate(value))


def _sweep(number: int, value: object) -> ImageRange:
    if not _is_list(value) or len(value) != 3:
        raise InvalidScenario(f"sweep_list: expected [dcid, start, end] as item {number}, seen {_seen(value)}")
    try:
        return ImageRange(*map(_whole, value))
    except ValidationError as error:
        raise InvalidScenario(f"sweep_list: item {number}, {_seen(value)}: {reasons(error)}") from error


def _whole(value: Any) -> Any:
    # Recipes' placeholders are filled with text
    is_digits = isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip())
    return int(value) if is_digits else value


def _space_group(value: object, warnings: Warnings) -> SpaceGroup | None:
    if isinstance(value, int) and value:  # strict as all else: in JSON a number is a slip more often than a group
        warnings.leave_out("space group", value, f"expected text: a number of the tables as '{value}'")
        return None
    return warnings.sensible("space group", SpaceGroup, value) if value else None


def _unit_cell(value: object, warnings: Warnings) -> UnitCell | None:
    if not value:
        return None
    if isinstance(value, str) and len(value) <= _CELL_CHARACTERS:
        value = value.strip().strip("[]()").split(",")
    if not _is_list(value):
        warnings.leave_out("unit cell", value, "expected three lengths and three angles")
        return None
    return warnings.sensible("unit cell", UnitCell, *map(_number, value))


def _number(value: Any) -> Any:
    # A whole number stays one: parameters are written as Python writes the numbers
    if not isinstance(value, str) or _WHOLE_NUMBER.fullmatch(value.strip()):
        return _whole(value)
    try:
        return float(value)
    except ValueError:
        return value


def _scatterer(plan: object, warnings: Warnings) -> AnomalousScatterer | None:
    if not plan:
        return None
    if not isinstance(plan, Mapping):
        warnings.leave_out("diffraction_plan_info", plan, "expected an object with anomalousScatterer")
        return None
    symbol = plan.get("anomalousScatterer")
    if not symbol or not _is_set(symbol):
        return None
    return warnings.sensible("anomalous scatterer", AnomalousScatterer, symbol)


def _cloud_groups(value: object, warnings: Warnings) -> tuple[CloudGroup, ...]:
    # A site's switch alone, which some hand over instead, sends nothing to the cloud
    if not value or value is True or (isinstance(value, str) and value.strip().lower() in {"true", "false"}):
        return ()
    if not _is_list(value):
        warnings.leave_out("cloudbursting", value, f"expected a list, of each group {_CLOUD_FORM}")
        return ()
    groups = (_cloud_group(group, warnings) for group in value)
    return tuple(group for group in groups if group)


def _cloud_group(value: object, warnings: Warnings) -> CloudGroup | None:
    spec = value.get("cloud_spec", value) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(spec, Mapping):
        warnings.leave_out("cloudbursting group", value, f"expected {_CLOUD_FORM}")
        return None
    if not value.get("cloudbursting", True):
        return None
    recipes = {} if value.get("recipes") is None else {"recipes": _texts(value["recipes"])}
    try:
        return CloudGroup(_texts(spec.get("visit_pattern")), _texts(spec.get("beamlines")), **recipes)
    except ValidationError:
        warnings.leave_out("cloudbursting group", value, f"expected {_CLOUD_FORM}")
        return None


def _texts(value: Any) -> Any:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value) if _is_list(value) else value


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
