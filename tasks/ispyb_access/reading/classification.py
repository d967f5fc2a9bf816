"""What kind of experiment a data collection was, on which detector."""

from pydantic import BaseModel, ConfigDict

# By the model in ISPyB, in lower case; the names are Zocalo's
DETECTOR_NAMES = {
    "eiger2 xe 16m": "Eiger16M",
    "eiger2 x 4m": "Eiger4M",
    "eiger2 x cdte 9m": "Eiger9MCdTe",
}
SERIAL = {"Serial Fixed", "Serial Jet"}


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


def classify(
    *,
    has_grid: bool,
    experiment_type: str | None,
    number_of_images: int | None,
    overlap: float | None,
    axis_range: float | None,
) -> DataCollectionClass:
    """Tell the kind of experiment from what ISPyB says of it; the rules are those of Zocalo's dispatcher.

    Parameters
    ----------
    experiment_type
        Of the data collection group.
    overlap
        Of an image and the next one, degrees; negative where images are far apart.
    axis_range
        What the crystal turns by during an image, degrees.
    """
    return DataCollectionClass(
        grid=has_grid,
        serial_fixed=experiment_type == "Serial Fixed",
        serial_jet=experiment_type == "Serial Jet",
        screen=False if experiment_type in SERIAL else _is_screen(number_of_images, overlap),
        characterization=experiment_type == "Characterization",
        diamond_anvil_cell=experiment_type == "Diamond Anvil High Pressure",
        rotation=is_rotation(overlap, axis_range),
    )


def is_rotation(overlap: float | None, axis_range: float | None) -> bool | None:
    """Tell whether images were taken one after the other while the crystal turned; None: ISPyB doesn't say."""
    if overlap is None or axis_range is None:
        return None
    return overlap == 0 and axis_range > 0


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
