"""What is asked of a DIALS process and what it answers. Light: steps, Dask workers and DIALS processes import it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import PurePath
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, field_validator

from tasks.file_version import FileVersion
from tasks.logs.line import LogLine
from tasks.step import StepParameters
from tasks.step.identity import StepIdentity

MASTER_SUFFIXES = (".h5", ".nxs", ".hdf5", ".cxi")

# Files of several images that aren't HDF5 masters: electron microscopes'
STACK_SUFFIXES = (".mrc", ".mrcs", ".ser", ".dm4")

LAST_IMAGE = 10_000_000
"""More images than any collection has. DIALS counts them in 32 bits, and a time limit grows with their number."""

# What a recipe's placeholder leaves behind when nothing is known.
_UNSET = ("", "None")


class SpotFindingOptions(StepParameters):
    """How spots are found and counted; Zocalo's names and defaults.

    Parameters
    ----------
    d_min, d_max
        Resolution of the spots that count, Å; None: no limit.
    disable_parallax_correction
        Take spots' places as measured, not corrected for how deep in the sensor photons are absorbed.
    filter_ice
        Leave spots on rings of hexagonal ice out of `n_spots_no_ice`, `total_intensity` and `estimated_d_min`.
    ice_rings_width
        Of a ring, in 1/d² (1/Å²).
    """

    model_config = ConfigDict(allow_inf_nan=False)  # DIALS would fail at each image

    d_min: float | None = None
    d_max: float | None = 40.0
    threshold_algorithm: Literal["dispersion", "dispersion_extended", "radial_profile"] = "dispersion"
    disable_parallax_correction: bool = True
    filter_ice: bool = True
    ice_rings_width: float = 0.004

    @field_validator("d_min", "d_max", mode="before")
    @classmethod
    def _unset_is_none(cls, value: Any) -> Any:
        return None if value in _UNSET else value


class AnalysisParameters(SpotFindingOptions):
    """Parameters of per-image analysis: the options, and which images of a file (1-based, both ends included)."""

    scan_range: tuple[int, int] | None = None

    @field_validator("scan_range", mode="before")
    @classmethod
    def _read_range(cls, value: Any) -> Any:
        if isinstance(value, str):
            return None if value in _UNSET else tuple(value.split(","))
        return value

    @field_validator("scan_range")
    @classmethod
    def _must_be_images(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not 1 <= value[0] <= value[1] <= LAST_IMAGE:
            raise ValueError(f"expected the first and the last image, from 1 to {LAST_IMAGE:,}; seen {value}")
        return value

    @property
    def options(self) -> SpotFindingOptions:
        """The options alone: equal for all images of a data set."""
        return _options_of(**self.model_dump(exclude={"scan_range"}))


@lru_cache(maxsize=64)
def _options_of(**values: Any) -> SpotFindingOptions:
    """Return the same object for the same options: a chunk of images then carries them once."""
    return SpotFindingOptions.model_validate(values)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """What DIALS says of one image (or of a range of images, merged).

    As `dials.algorithms.spot_finding.per_image_analysis.stats_for_reflection_table` has it.

    Parameters
    ----------
    d_min_distl_method_1, d_min_distl_method_2
        Resolution, Å, by the methods of Zhang, Sauter et al., J. Appl. Cryst. 39 (2006) 112-119; -1 if no more than 10
        spots are left without ice.
    estimated_d_min
        Resolution, Å, by DIALS's own method; -1 likewise.
    n_spots_4A
        Spots at a lower resolution than 4 Å.
    noisiness_method_1, noisiness_method_2
        The part of the methods' points that break the trend, 0 to 1; -1 where there is no estimate.
    total_intensity
        Sum over the spots without ice, counts.
    """

    d_min_distl_method_1: float
    d_min_distl_method_2: float
    estimated_d_min: float
    n_spots_4A: int  # noqa: N815 - the name that ISPyB and GDA know
    n_spots_no_ice: int
    n_spots_total: int
    noisiness_method_1: float
    noisiness_method_2: float
    total_intensity: float

    def as_payload(self) -> dict[str, Any]:
        """Return the nine statistics by Zocalo's names."""
        return dict(zip(_STATISTICS, _values_of(self), strict=True))


_STATISTICS = tuple(field.name for field in fields(ImageStatistics))
_values_of = attrgetter(*_STATISTICS)


@dataclass(frozen=True, slots=True)
class ImageAnalysis:
    """What was found on an image, and how.

    Parameters
    ----------
    by_dials
        Why DIALS did the whole of it; None: Plaza's own way did, with DIALS's numbers.
    corrected
        What Plaza's own way had said where a check by DIALS said otherwise: `statistics` are DIALS's then. All are
        -1 if it had refused the image, which DIALS analyses.
    """

    statistics: ImageStatistics
    by_dials: str | None = None
    corrected: ImageStatistics | None = None


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Analyse an image: a file of one, images `scan_range` of a master, or a whole file merged into one record.

    Parameters
    ----------
    check
        Have DIALS do it as well, and compare.
    by_dials
        Why DIALS is to do it, and Plaza's own way isn't tried; None: Plaza's own way, where it's proven.
    """

    file: str
    options: SpotFindingOptions
    scan_range: tuple[int, int] | None = None
    check: bool = False
    by_dials: str | None = None

    @property
    def image(self) -> str:
        """The image, or images, as people say it."""
        if self.scan_range is None:
            return self.file
        return f"{self.file}, images {self.scan_range[0]}-{self.scan_range[1]}"

    @property
    def time_limit_s(self) -> float:
        """Seconds after which the DIALS process is taken to hang; an Eiger 16M takes 1.5 s an image."""
        if self.scan_range is not None:
            return 120.0 + 5.0 * (self.scan_range[1] - self.scan_range[0])
        # A whole master, in one go: 3,600 images of an Eiger 16M take an hour and a half.
        return 7200.0 if self.file.lower().endswith(MASTER_SUFFIXES) else 120.0


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """Draw an image, given by its 1-based index in the file, as a JPEG and a thumbnail beside it.

    The only image of a file that holds one is drawn whatever the index: xia2 and ISPyB give it that of the file.
    The preview is drawn under its name in full where another image's stands under the usual one, if `by_default`.

    Brightness (%), binning (pixels) and quality (of the JPEG) are what Zocalo gives to `dials.export_bitmaps`.
    Links on the way to the preview may lead out of the visit to the folders of `link_targets` only.
    """

    file: str
    index: int
    output: str
    thumbnail: str
    brightness: float = 60.0
    binning: int = 4
    quality: int = 95
    by_default: bool = False
    time_limit_s: float = 120.0
    link_targets: tuple[str, ...] = ()

    @property
    def image(self) -> str:
        """The image, as people say it."""
        return f"{self.file}, image {self.index}"

    @property
    def shown_image(self) -> str:
        """What names the image in its picture, however it was asked for: the only one of a file needs no number."""
        return f"{self.file}:{self.index}" if holds_several_images(self.file) else self.file


def holds_several_images(file: str) -> bool:
    """Tell by its name whether a file may hold more than one image."""
    return file.lower().endswith((*MASTER_SUFFIXES, *STACK_SUFFIXES))


def names_in_full(request: PreviewRequest) -> tuple[str, str]:
    """Return a preview's and a thumbnail's name with the file's extension and the image's number.

    >>> names_in_full(PreviewRequest("/x/a.nxs", 2, "/jpegs/a_2.jpeg", "/jpegs/a_2t.jpeg"))
    ('/jpegs/a.nxs_2.jpeg', '/jpegs/a.nxs_2.t.jpeg')
    """
    number = f"_{request.index}" if holds_several_images(request.file) else ""
    stem = f"{PurePath(request.file).name}{number}"
    folder = PurePath(request.output).parent
    # A point before the t: no other image's preview in full is called so.
    return str(folder / f"{stem}.jpeg"), str(folder / f"{stem}.t.jpeg")


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """Say which images a file holds: those that are stored, and how many there are to be (`StoredImages`)."""

    file: str
    time_limit_s: float = 120.0

    @property
    def image(self) -> str:
        """What is worked on, as people say it."""
        return self.file


@dataclass(frozen=True, slots=True)
class SpotPictureRequest:
    """Find an image's spots, and show where they are on it (`SpotPicture`).

    Parameters
    ----------
    index
        The image's number in the file, from 1.
    longest_side
        Of the picture, pixels.
    """

    file: str
    options: SpotFindingOptions
    index: int
    longest_side: int = 1600
    time_limit_s: float = 120.0

    @property
    def image(self) -> str:
        """The image, as people say it."""
        return f"{self.file}, image {self.index}"


DiffractionRequest: TypeAlias = ImageRequest | PreviewRequest | ContentRequest | SpotPictureRequest


@dataclass(frozen=True, slots=True)
class Success:
    """A request that was met: its value, and the seconds that it took."""

    value: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Poison:
    """A file that was given up since its images end their DIALS process, as it was then; None: it wasn't seen."""

    file: str
    version: FileVersion | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that can't be met, why, and whether it may be met later.

    Parameters
    ----------
    ended_process
        It has ended the DIALS process that worked on it.
    poison
        The file, if so many of its images have ended their process that none is tried any more as it is.
    """

    reason: str
    may_pass: bool = False
    ended_process: bool = False
    poison: Poison | None = None


DiffractionOutcome: TypeAlias = Success | Failure


@dataclass(frozen=True, slots=True)
class Chunk:
    """Requests that one Dask task meets, and for whom. A class, so that Dask doesn't look into it for futures.

    Parameters
    ----------
    poison
        Files that are known, from other workers, to end DIALS processes.
    """

    requests: tuple[DiffractionRequest, ...]
    identity: StepIdentity | None = None
    poison: frozenset[Poison] = frozenset()


@dataclass(frozen=True, slots=True)
class ChunkAnswer:
    """The outcomes of a chunk's requests, in order, and what was logged meanwhile.

    Those of the first requests, one at least, if the chunk took too long: the others are asked for again.
    """

    outcomes: list[DiffractionOutcome]
    log: list[LogLine]
