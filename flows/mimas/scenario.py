"""What Mimas knows about a data collection, and what it may ask for. Immutable, checked when made."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import Annotated

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

_ELEMENTS = """
    H D He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb
    Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg
    Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
"""
ELEMENTS = frozenset(_ELEMENTS.split())


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

    @property
    def string(self) -> str:
        """The six numbers with commas, as programs' parameters want them."""
        return ",".join(str(number) for number in (self.a, self.b, self.c, self.alpha, self.beta, self.gamma))


@dataclass(frozen=True, config=_STRICT)
class SpaceGroup:
    """A space group by any spelling that cctbx knows (`P21`, `P 1 21 1`, `H3`)."""

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


def _full_hermann_mauguin(symbol: str) -> str:
    from cctbx import sgtbx  # 0.2 s, and most crystals come without a space group

    try:
        known = sgtbx.space_group_symbols(symbol).hermann_mauguin()
    except RuntimeError as error:
        raise ValueError(f"{symbol!r} is no space group that cctbx knows") from error
    if not known:  # a Hall symbol: right, but without a Hermann–Mauguin one
        raise ValueError(f"{symbol!r} is no Hermann–Mauguin symbol")
    return str(known)


@dataclass(frozen=True, config=_STRICT)
class AnomalousScatterer:
    """The element whose anomalous signal the experiment is after, in any case."""

    symbol: Name

    @field_validator("symbol")
    @classmethod
    def _is_an_element(cls, symbol: str) -> str:
        if symbol.strip().capitalize() not in ELEMENTS:
            raise ValueError(f"{symbol!r} is no chemical element's symbol")
        return symbol

    @property
    def string(self) -> str:
        """The symbol as chemists write it: se is `Se`."""
        return self.symbol.strip().capitalize()


@dataclass(frozen=True, config=_STRICT)
class CloudGroup:
    """Collections whose processing may go to the cloud just now, and which of their recipes do.

    Parameters
    ----------
    visits
        Beginnings of visits' names, as in `mx`, `cm12345`; none: of any visit.
    beamlines
        None: of any beamline.
    recipes
        A recipe goes there if its name contains one of these.
    """

    visits: tuple[Name, ...] = ()
    beamlines: tuple[Name, ...] = ()
    recipes: tuple[Name, ...] = ("autoprocessing",)


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
