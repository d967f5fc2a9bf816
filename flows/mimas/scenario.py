"""What Mimas knows about a data collection, and what it may ask for. Immutable, checked when made."""

from __future__ import annotations

from enum import Enum
from functools import cache, cached_property
from typing import Annotated, Final

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from blocks.identifiers import Dcid

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # as Zocalo's scenario: text is no number, nor is True

Count = Annotated[int, Field(ge=0)]
PositiveDcid = Annotated[Dcid, Field(gt=0)]
# A whole number stays one: programs' parameters are written as Python writes the numbers, with Zocalo and here
Length = Annotated[int | float, Field(gt=0)]
Angle = Annotated[int | float, Field(gt=0, lt=180)]
Name = Annotated[str, Field(min_length=1)]

# Of the volume of a box with the same edges: less is a flat cell, whatever is left of it by rounding
SMALLEST_PART_OF_BOX: Final = 1e-6


class DCClass(Enum):
    """What kind of data collection it is; at most one, although ISPyB may say several."""

    CHARACTERIZATION = "characterization"
    DIAMOND_ANVIL_CELL = "diamond anvil cell"
    GRIDSCAN = "grid scan"
    ROTATION = "rotation"
    SCREENING = "screening"
    SERIAL_FIXED = "serial, fixed target"
    SERIAL_JET = "serial, jet"
    UNDEFINED = "undefined"


class DetectorClass(Enum):
    """Detector families that need different recipes."""

    PILATUS = "pilatus"
    EIGER = "eiger"


class Event(Enum):
    """What the beamline tells us."""

    START = "start"
    END = "end"
    START_GROUP = "start-group"
    END_GROUP = "end-group"


@dataclass(frozen=True, config=_STRICT)
class ImageRange:
    """The images of one data collection, both ends included."""

    dcid: PositiveDcid
    start: Count
    end: Count

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> ImageRange:
        if self.end < self.start:
            raise ValueError(f"a sweep ends at or after its start, this one goes from image {self.start} to {self.end}")
        return self


@dataclass(frozen=True, config=_STRICT)
class UnitCell:
    """Lengths in Å, angles in degrees."""

    a: Length
    b: Length
    c: Length
    alpha: Angle
    beta: Angle
    gamma: Angle

    @model_validator(mode="after")
    def _angles_close(self) -> UnitCell:
        import gemmi  # most crystals come without a cell

        volume, box = gemmi.UnitCell(*self.numbers).volume, self.a * self.b * self.c
        if not volume > SMALLEST_PART_OF_BOX * box:  # NaN where the angles don't close
            raise ValueError(
                f"no cell has the angles {self.alpha}, {self.beta} and {self.gamma}: its volume is {volume}"
            )
        return self

    @property
    def numbers(self) -> tuple[float, float, float, float, float, float]:
        """The lengths, then the angles."""
        return self.a, self.b, self.c, self.alpha, self.beta, self.gamma

    @property
    def string(self) -> str:
        """The six numbers with commas, as programs' parameters want them."""
        return ",".join(map(str, self.numbers))


@dataclass(frozen=True, config=_STRICT)
class SpaceGroup:
    """A space group by any spelling that gemmi knows (`P21`, `P 1 21 1`, `H3`)."""

    symbol: Name

    @field_validator("symbol")
    @classmethod
    def _is_known(cls, symbol: str) -> str:
        _full_hermann_mauguin(symbol)
        return symbol

    @cached_property
    def string(self) -> str:
        """The full Hermann–Mauguin symbol without spaces: P21 is `P1211`."""
        return _full_hermann_mauguin(self.symbol).replace(" ", "")


@cache
def _full_hermann_mauguin(symbol: str) -> str:
    import gemmi

    known = gemmi.find_spacegroup_by_name(symbol)
    if known is None or symbol.strip() == "0":  # which gemmi takes for P1
        raise ValueError(f"{symbol!r} is no space group's Hermann–Mauguin symbol or number")
    return known.hm


@dataclass(frozen=True, config=_STRICT)
class AnomalousScatterer:
    """The element whose anomalous signal the experiment is after, in any case."""

    symbol: Name

    @field_validator("symbol")
    @classmethod
    def _is_an_element(cls, symbol: str) -> str:
        if _element(symbol) is None:
            raise ValueError(f"{symbol!r} is no chemical element's symbol")
        return symbol

    @property
    def string(self) -> str:
        """The symbol as chemists write it: se is `Se`."""
        return _element(self.symbol) or self.symbol


def _element(symbol: str) -> str | None:
    import gemmi

    name = str(gemmi.Element(symbol.strip()).name)
    # gemmi reads on where a symbol begins a word: Selenium, Se2+; what it doesn't know is X
    return name if name != "X" and name.lower() == symbol.strip().lower() else None


@dataclass(frozen=True, config=_STRICT)
class CloudGroup:
    """Collections whose processing may go to the cloud just now, and which of their recipes do.

    Parameters
    ----------
    visits
        Beginnings of visits' names, as in `mx`, `cm12345`: without one no collection is the group's, as with Zocalo,
        so that a forgotten line doesn't send everybody's data away.
    beamlines
        The same holds for these.
    recipes
        A recipe goes there if its name contains one of these.
    """

    visits: tuple[Name, ...] = ()
    beamlines: tuple[Name, ...] = ()
    recipes: tuple[Name, ...] = ("autoprocessing",)

    def has(self, scenario: Scenario) -> bool:
        """Tell whether a data collection is one of the group's."""
        return scenario.beamline in self.beamlines and (scenario.visit or "").startswith(self.visits)


@dataclass(frozen=True, config=_STRICT)
class Scenario:
    """All that the rules may look at."""

    dcid: PositiveDcid
    dc_class: DCClass
    event: Event
    beamline: Name
    visit: str | None = None
    run_status: str | None = None
    detector_class: DetectorClass | None = None
    sweeps: tuple[ImageRange, ...] = ()
    """Of the data collection's group, its own included."""
    space_group: SpaceGroup | None = None
    unit_cell: UnitCell | None = None
    anomalous_scatterer: AnomalousScatterer | None = None
    preferred_processing: str | None = None
    """The sample's container's first choice of pipeline, e.g. `xia2/DIALS`."""
    cloudbursting: tuple[CloudGroup, ...] = ()
    """The groups that may use the cloud just now; whether the collection is one of theirs, the rules ask."""


@dataclass(frozen=True, config=_STRICT)
class JobParameter:
    """A parameter of an ISPyB job, or a variable that its recipe is triggered with."""

    key: Name
    value: str


@dataclass(frozen=True, config=_STRICT)
class RecipeInvocation:
    """Run a recipe on the data collection."""

    dcid: PositiveDcid
    recipe: Name


@dataclass(frozen=True, config=_STRICT)
class ISPyBJobInvocation:
    """Create a ProcessingJob in ISPyB, which recipe `ispyb-<recipe>` runs: now (autostart), or when there's room."""

    dcid: PositiveDcid
    autostart: bool
    recipe: Name
    source: Name = "automatic"
    comment: str = ""
    display_name: str = ""
    parameters: tuple[JobParameter, ...] = ()
    sweeps: tuple[ImageRange, ...] = ()
    trigger_variables: tuple[JobParameter, ...] = ()


Invocation = RecipeInvocation | ISPyBJobInvocation
