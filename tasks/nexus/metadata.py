"""What DIALS reads of a master besides its images, and whether all of it is there.

Much of it stands in a file of its own, to which the master links, and which may come later: DIALS takes a mask whose
file is missing for no mask, and unwritten counts for zeros.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.file_version import FileVersion
from tasks.nexus.axes import chain_of_axes
from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.links import LINKS_IN_A_ROW
from tasks.nexus.mapping import list_mappings
from tasks.nexus.master import find_entry
from tasks.nexus.opening import faults_at, in_the_making, seconds_since_written
from tasks.nexus.storage import is_filled
from tasks.nexus.tree import Found, MasterTree

if TYPE_CHECKING:
    import h5py

INSTRUMENT = ("name",)
DETECTOR = (
    "bit_depth_readout",
    "frame_time",
    "pixel_mask",
    "saturation_value",
    "sensor_material",
    "sensor_thickness",
    "underload_value",
)
MODULE = ("data_origin", "data_size", "fast_pixel_direction", "slow_pixel_direction")
BEAM = ("incident_wavelength",)
SAMPLE = ("depends_on",)
DECTRIS_DETECTOR = ("detectorSpecific/pixel_mask", "detectorSpecific/countrate_correction_count_cutoff")
"""In masters of Dectris's own, which are no NXmx."""

LATE_METADATA_S = 30.0
"""Since a master was last written: what has no values until then, there or in a file that it links, never gets any.

Detectors write a mask before their first image. Some never do, and add to that file with each image: theirs shall be
analysed before their step gives up, which is after half a minute at the earliest.
"""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What DIALS reads of a master besides its images.

    Parameters
    ----------
    versions
        The files in which it stands, as they are.
    fingerprint
        Of what stands in other files than the master: such a file may change with each image, and this stays.
    """

    versions: Mapping[str, FileVersion | None]
    fingerprint: int


def require_metadata(master: str) -> Metadata:
    """Make sure that all is there that DIALS reads of a master besides its images.

    Raises
    ------
    NotReady
        A file isn't there or is in the making, or what the master links in it isn't written yet.
    UnusableMaster
        A file can't be read.
    """
    fingerprint = 0
    with MasterTree(master) as tree:
        for group, name in _fields(tree, find_entry(tree)):
            fingerprint = zlib.crc32(_require(tree, group, name), fingerprint)
        return Metadata(tree.versions, fingerprint)


def _fields(tree: MasterTree, entry: str) -> Iterator[tuple[Found, str]]:
    """Yield what DIALS reads: groups, and paths from these."""
    instrument = tree.first_of(entry, "NXinstrument")
    if instrument is not None:
        yield from _in_group(tree, instrument, INSTRUMENT)
        detector = tree.first_of(instrument, "NXdetector")
        if detector is not None:
            yield from _in_group(tree, detector, (*DETECTOR, *DECTRIS_DETECTOR))
            for module in tree.all_of(detector, "NXdetector_module"):
                yield from _in_group(tree, module, MODULE)
                yield from _axes(tree, module, "fast_pixel_direction")
                yield from _axes(tree, module, "slow_pixel_direction")
        beam = tree.first_of(instrument, "NXbeam")
        yield from _in_group(tree, beam, BEAM)
    sample = tree.first_of(entry, "NXsample")
    yield from _in_group(tree, sample, SAMPLE)
    yield from _axes(tree, sample, "depends_on")


def _in_group(tree: MasterTree, path: str | None, names: tuple[str, ...]) -> Iterator[tuple[Found, str]]:
    group = tree.get(path) if path else None
    if group is not None:
        yield from ((group, name) for name in names)


def _axes(tree: MasterTree, path: str | None, name: str) -> Iterator[tuple[Found, str]]:
    """Yield the axes that place a group, and their ends, where there are any: DIALS does without."""
    for beside, named in chain_of_axes(tree, path, name):
        yield beside, named
        axis = tree.get(named, beside)
        if axis is not None and not axis.is_group:
            end = f"{axis.object.name}_end"
            with faults_at(axis.holder):
                has_end = axis.object.parent.get(end, getlink=True) is not None
            if has_end:
                yield axis, end


def _require(tree: MasterTree, group: Found, name: str) -> bytes:
    """Make sure that a field is there, if it's linked, and return what it holds if that's in another file."""
    try:
        holder, _ = tree.locate(name, group)
        field = tree.get(name, group)
        if field is None and not tree.is_linked(name, group):
            return b""
        if field is not None and field.is_group:
            return b""
        content = None if field is None else _read(tree, field)
    except FileAbsent as error:
        raise NotReady(error.file, f"isn't there: {name} of {tree.master} is a link to it") from error
    except _Unwritten as error:
        holder, content = error.args[0], None
    if content is not None:
        return content
    fault = in_the_making(holder, f"has nothing for {name} of {tree.master}")
    if isinstance(fault, NotReady) and (seconds_since_written(tree.master) or 0.0) < LATE_METADATA_S:
        raise fault
    return b""  # it never gets it: then there is no mask, as DIALS takes it


class _Unwritten(Exception):
    """A dataset, or one that a virtual dataset maps, isn't there or isn't written, in the file that it names."""


def _read(tree: MasterTree, field: Found, depth: int = 0) -> bytes:
    """Return what a dataset holds if that's in other files than the master.

    Raises
    ------
    _Unwritten
        It's allocated only: HDF5 would read zeros.
    """
    with faults_at(field.holder):
        dataset = field.object
        if dataset.is_virtual:
            sources = list(list_mappings(dataset, field.holder))
        elif dataset.size and not is_filled(dataset):
            raise _Unwritten(field.holder)
        else:
            return b"" if field.holder == tree.master else _content(dataset)
    if depth > LINKS_IN_A_ROW:
        raise UnusableMaster(f"{tree.master}: the virtual dataset {dataset.name} leads back to itself")
    said = b""
    for mapping in sources:
        source = tree.get_in(mapping.file, mapping.dataset)
        if source is None or source.is_group:
            raise _Unwritten(mapping.file.find() or mapping.file.expected)
        said += mapping.selection + _read(tree, source, depth + 1)
    return said


def _content(dataset: h5py.Dataset) -> bytes:
    """Return what a dataset holds, as it's stored: a mask of 16 million pixels is a hundred times smaller so."""
    import numpy as np

    said = repr((dataset.dtype, dataset.shape, sorted(dataset.attrs.items(), key=str))).encode()
    if dataset.chunks is None:
        value = dataset[()]
        return said + (value.tobytes() if isinstance(value, np.ndarray | np.generic) else repr(value).encode())
    corners = (dataset.id.get_chunk_info(number).chunk_offset for number in range(dataset.id.get_num_chunks()))
    return said + b"".join(dataset.id.read_direct_chunk(corner)[1] for corner in corners)
