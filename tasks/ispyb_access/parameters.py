"""What a recipe may know of a data collection: the `ispyb_…` parameters, and the arithmetic behind them.

No database here: `reader` fills them in.
"""

import re
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

DETECTOR_NAMES = {
    "eiger2 xe 16m": "Eiger16M",
    "eiger2 x 4m": "Eiger4M",
    "eiger2 x cdte 9m": "Eiger9MCdTe",
}
VISIT_NAME = re.compile(r"[a-z]{2}\d+-\d+")
VISIT_LEVEL = 5  # /dls/i03/data/2024/VISIT: where Diamond's paths have it, "/" being level 0
LAST_HASHES = re.compile(r"#+(?=[^#]*$)")


class DataCollectionClass(BaseModel):
    """What kind of experiment it was. Several may hold; None: ISPyB doesn't say."""

    model_config = ConfigDict(frozen=True)

    grid: bool
    serial_fixed: bool
    serial_jet: bool
    screen: bool | None
    characterization: bool
    diamond_anvil_cell: bool
    rotation: bool | None


class DispatcherParameters(BaseModel):
    """A data collection as recipes and Mimas see it; each field is the recipe parameter `ispyb_<field>`."""

    model_config = ConfigDict(frozen=True)

    dcid: int
    beamline: str | None
    detectorclass: str | None
    detectorname: str | None
    dc_info: dict[str, Any]
    dc_class: DataCollectionClass
    dcg_experiment_type: str | None
    dcg_dcids: tuple[int, ...]
    diffraction_plan: dict[str, Any]
    protein_info: dict[str, Any]
    smiles: str | None
    preferred_processing: str
    space_group: str
    unit_cell: tuple[float, float, float, float, float, float] | None
    pin_info: dict[str, Any]
    msp_sample_ids: dict[int, int]
    image_first: int | None
    image_last: int | None
    image_template: str | None
    image_directory: str | None
    image_pattern: str | None
    image: str | None
    images: str | None
    related_sweeps: tuple[tuple[int, int, int], ...]
    related_images: tuple[tuple[int, str], ...]
    visit: str | None
    visit_directory: str | None
    working_directory: str | None
    results_directory: str | None
    final_directory: str | None
    project: str
    crystal: str

    def recipe_parameters(self) -> dict[str, Any]:
        """Return Zocalo's keys and values: an absent cell is False, `ispyb_images` is absent where it says nothing."""
        values = {f"ispyb_{name}": getattr(self, name) for name in type(self).model_fields}
        values["ispyb_dc_class"] = self.dc_class.model_dump()
        values["ispyb_unit_cell"] = self.unit_cell or False
        values["ispyb_dcg_dcids"] = list(self.dcg_dcids)
        values["ispyb_related_sweeps"] = list(self.related_sweeps)
        values["ispyb_related_images"] = list(self.related_images)
        if self.images is None:
            del values["ispyb_images"]
        return values


def classify(
    *,
    has_grid: bool,
    experiment_type: str | None,
    number_of_images: int | None,
    overlap: float | None,
    axis_range: float | None,
) -> DataCollectionClass:
    """Tell the kind of experiment from what ISPyB says of it."""
    is_serial = experiment_type in {"Serial Fixed", "Serial Jet"}
    return DataCollectionClass(
        grid=has_grid,
        serial_fixed=experiment_type == "Serial Fixed",
        serial_jet=experiment_type == "Serial Jet",
        screen=False if is_serial else _is_screen(number_of_images, overlap),
        characterization=experiment_type == "Characterization",
        diamond_anvil_cell=experiment_type == "Diamond Anvil High Pressure",
        rotation=None if overlap is None or axis_range is None else overlap == 0 and axis_range > 0,
    )


def _is_screen(number_of_images: int | None, overlap: float | None) -> bool | None:
    if number_of_images is None:
        return None
    if number_of_images == 1:
        return True
    if number_of_images < 1:
        return False
    return None if overlap is None else overlap != 0


def detector_class(model: str | None, template: str | None) -> str | None:
    """Tell `eiger` or `pilatus` from the detector's model, else from the file names."""
    for name in ("eiger", "pilatus"):
        if (model or "").lower().startswith(name):
            return name
    if (template or "").endswith("master.h5"):
        return "eiger"
    return "pilatus" if (template or "").endswith(".cbf") else None


def detector_name(model: str | None) -> str | None:
    """Return the short name of the detectors that the recipes know."""
    return DETECTOR_NAMES.get((model or "").lower())


def image_pattern(template: str) -> str:
    """Make a `%0Nd` pattern of a template's (last) run of `#`; one without stays as it is."""
    if "#" not in template:
        return template
    return LAST_HASHES.sub(lambda hashes: f"%0{len(hashes[0])}d", template.replace("%", "%%"))


def image_file(directory: str, template: str, number: int) -> str:
    """Return the path of an image, or of the one file that holds them all."""
    return directory.rstrip("/") + "/" + LAST_HASHES.sub(lambda hashes: f"{number:0{len(hashes[0])}d}", template)


def find_visit(directory: str, session_visit: str | None) -> tuple[str | None, PurePosixPath]:
    """Find the visit of an image directory, and the visit's own directory.

    Diamond's rule is the sixth component of the path (`/dls/i03/data/2024/VISIT/…`). It is taken as it is below
    `/dls`, and elsewhere if it looks like a visit. Otherwise it is the component named as the session's visit in ISPyB,
    so that beamlines whose data stand elsewhere work; otherwise, again, the sixth component. A path that is too short
    and doesn't name the visit gives the session's visit, and is itself the visit's directory.
    """
    path = PurePosixPath(directory)
    parts = path.parts
    sixth = parts[VISIT_LEVEL] if len(parts) > VISIT_LEVEL else None
    if sixth and (parts[1] == "dls" or VISIT_NAME.fullmatch(sixth)):
        return sixth, PurePosixPath(*parts[: VISIT_LEVEL + 1])
    if session_visit in parts:
        return session_visit, PurePosixPath(*parts[: parts.index(session_visit) + 1])
    if sixth:
        return sixth, PurePosixPath(*parts[: VISIT_LEVEL + 1])
    return session_visit, path


def output_directories(
    directory: str, visit_directory: PurePosixPath, collection: str, recipe_run: str
) -> tuple[str, str, str]:
    """Return the working, results and final directories of a recipe run."""
    below = PurePosixPath(directory).relative_to(visit_directory) / collection / recipe_run
    processed = visit_directory / "processed"
    return (
        str(visit_directory / "tmp" / "zocalo" / below),
        str(processed / below),
        str(processed / "pipeline-final" / below),
    )


def collection_name(prefix: str | None, number: int | None, template: str | None) -> str:
    """Name a data collection as its files are: `<prefix>_<number>`, else the template without `#` and suffix."""
    if prefix and number is not None:
        return f"{prefix}_{number}"
    return PurePosixPath((template or "").replace("#", "")).stem.rstrip("_")


def xia2_names(visit: str | None, prefix: str | None, number: int | None) -> tuple[str, str]:
    """Return project and crystal names that xia2 accepts."""
    project = (visit or "AUTOMATIC").replace("-", "v")
    letters = re.sub(r"[^A-Za-z0-9]", "", f"{prefix or ''}{'' if number is None else number}")
    return project, f"x{letters}" if letters else "DEFAULT"
