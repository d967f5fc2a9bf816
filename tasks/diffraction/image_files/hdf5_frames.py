"""Frames of a NeXus master for DIALS, read from the data files where they are.

Through the master's virtual dataset an image that isn't written yet reads as zeros: see `tasks.nexus.images`. Reading
frames directly also spares dxtbx's walk over the NeXus tree, which costs more than reading the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 read bitshuffle-LZ4
import numpy as np
from dxtbx import flumpy, nexus
from dxtbx.format.FormatNXmx import FormatNXmx

from blocks.errors import PassingFault
from tasks.diffraction.errors import ImageUnreadable
from tasks.nexus.errors import FileAbsent, NotReady, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.layout import ImageBlock, Layout
from tasks.nexus.opening import faults_at, open_file

_MOST_BITS: Final = 32
"""Of an integer that DIALS reads."""


class FrameMissing(PassingFault):
    """A frame of a master has not been written, or its data file isn't there."""


@dataclass(frozen=True)
class PanelForm:
    """How a frame becomes the panels of a detector.

    Parameters
    ----------
    panels
        Each panel's part of a frame: slow, fast.
    bit_depth
        Of the counts, whose two highest values mean masked; None: none do.
    """

    panels: tuple[tuple[slice, ...], ...]
    bit_depth: int | None


def read_panel_form(layout: Layout, image_format: FormatNXmx) -> PanelForm | str:
    """Read how frames of a NXmx master, of which dxtbx has made `image_format`, become panels.

    Returns
    -------
    PanelForm | str
        The latter says, in a phrase, why the frames can't be read one by one, or are not those that dxtbx reads: then
        it must read them.
    """
    if not layout.is_by_frame:
        return "HDF5 puts its images together"
    if not layout.fills_its_bytes:
        return "HDF5 converts its numbers: the master's have fewer bits than their bytes"
    if len(layout.frame_shape) != 2:
        return f"its images have {len(layout.frame_shape)} axes"
    with open_file(layout.master) as file:
        entry = image_format._get_nxmx(file).entries[0]  # noqa: SLF001 - knows what old Diamond files get wrong
        group, detector = entry.data[0], entry.instruments[0].detectors[0]
        name = nexus.nxmx.h5str(group.signal)
        # dxtbx reads what `signal` names; where the layout is of another dataset, its frames aren't dxtbx's.
        if name and file.get(f"{group.path}/{name}", getlink=True) and layout.dataset != f"{group.path}/{name}":
            return f"dxtbx takes its images from {name}, which its NXdata calls the signal"
        panels = nexus.get_detector_module_slices(detector)
    return PanelForm(panels, image_format._bit_depth_readout)  # noqa: SLF001


class FrameReader:
    """Reads a master's frames for dxtbx, which takes it for one of its own readers.

    Parameters
    ----------
    count
        How many images dxtbx believes there are: an aborted collection has fewer than angles.
    """

    def __init__(self, images: MasterImages, form: PanelForm, count: int) -> None:
        self._images = images
        self.form = form
        self._count = count

    def read(self, index: int) -> tuple[Any, ...]:
        """Return frame `index` (from 0) as DIALS arrays, one a panel: (slow, fast) each, 32-bit integers or floats.

        Raises
        ------
        FrameMissing
            It has not been written.
        ImageUnreadable
            It's damaged, or DIALS doesn't know such counts.
        """
        dataset, frame = self.find(index)
        dtype = self.type_of(index, dataset)
        with self.faults_of(index, dataset):
            part = () if frame is None else frame
            pixels: np.ndarray[Any, Any] = dataset[part] if dtype == dataset.dtype else dataset.astype(dtype)[part]
        return tuple(_as_flex(pixels[panel], self.form.bit_depth) for panel in self.form.panels)

    def type_of(self, index: int, dataset: h5py.Dataset) -> np.dtype[Any]:
        """Return the type of number, which DIALS knows, that the counts of frame `index` are read as.

        Raises
        ------
        ImageUnreadable
            DIALS doesn't know such counts, or their bit depth.
        """
        stored, mapped = dataset.dtype, self._images.layout.dtype
        dtype = stored if mapped is None or _same_as_int32(stored, mapped) else mapped
        depth = self.form.bit_depth
        if dtype.kind not in "iuf":
            fault = f"has counts of type {dtype}; DIALS reads integers and floating-point numbers"
        elif dtype.kind != "f" and depth and not 0 < depth <= _MOST_BITS:
            fault = f"has counts of {depth} bits, its bit_depth_readout says; DIALS reads 1 to {_MOST_BITS}"
        else:
            return dtype
        raise ImageUnreadable(f"image {index + 1} of {self._images.layout.master} {fault}")

    def find(self, index: int) -> tuple[h5py.Dataset, int | None]:
        """Return the dataset that holds frame `index` (from 0), and its place there; None: it's the whole dataset.

        Raises
        ------
        FrameMissing
            It has not been written.
        """
        try:
            block, frames = self._images.open(index)
            frame = block.frame_of(index)
            is_stored = frames.count_stored(frame, 1)
        except NotReady as error:
            raise _not_ready(self._images.layout, index, error) from error
        if not is_stored:
            raise _unwritten(self._images.layout, index, block)
        return frames.dataset, frame

    @contextmanager
    def faults_of(self, index: int, dataset: h5py.Dataset) -> Iterator[None]:
        """Raise what errors mean while frame `index` is read: `FrameMissing` or `ImageUnreadable`, of that image."""
        try:
            with faults_at(dataset.file.filename):
                yield
        except (NotReady, UnusableMaster) as error:
            unknown = _find_unknown_filter(dataset)
            if unknown is None and isinstance(error, NotReady):
                raise _not_ready(self._images.layout, index, error) from error
            reason = f"{dataset.file.filename} is compressed by {unknown}" if unknown else str(error)
            raise ImageUnreadable(f"image {index + 1} of {self._images.layout.master}: {reason}") from error

    # What dxtbx's imagesets ask of a reader.

    def __len__(self) -> int:
        return self._count

    def copy(self, paths: object, count: int | None = None) -> FrameReader:
        """Return the reader of some of the images: itself, since dxtbx asks for frames by their number in the file."""
        return self

    def paths(self) -> list[str]:
        """Return the master, as dxtbx's own reader does."""
        return [self._images.layout.master]

    def master_path(self) -> str:
        """Return the master."""
        return self._images.layout.master

    def identifiers(self) -> list[str]:
        """Return a name for each image."""
        return [f"{self._images.layout.master}-{index}" for index in range(len(self))]

    def is_single_file_reader(self) -> bool:
        """Say that all images are in one file."""
        return True


class TwiceReader(FrameReader):
    """Has dxtbx read each image twice, where it has to, from a virtual dataset that is opened anew.

    What HDF5 can't open or read of a source is zeros to it, and no error, though all was stored just before.

    Parameters
    ----------
    image_format
        What dxtbx has made of the master.
    """

    def __init__(self, images: MasterImages, image_format: FormatNXmx, count: int) -> None:
        super().__init__(images, PanelForm((), None), count)
        self._format = image_format

    def read(self, index: int) -> tuple[Any, ...]:
        """Return frame `index` as `FrameReader.read` does."""
        require_stored(self._images, [index])
        # Not as DIALS arrays: one that is let go while an error passes ends the process.
        once = [flumpy.to_numpy(panel).copy() for panel in self._read_anew(index)]
        twice = self._read_anew(index)
        if not all(_are_equal(one, other) for one, other in zip(once, twice, strict=True)):
            raise FrameMissing(
                f"image {index + 1} of {self._images.layout.master} has been read twice, and not the same: "
                "a file system fails, or it's written to"
            )
        return twice

    def _read_anew(self, index: int) -> tuple[Any, ...]:
        try:
            panels: tuple[Any, ...] = self._format.get_raw_data(index)
        finally:
            handle, self._format._cached_file_handle = self._format._cached_file_handle, None  # noqa: SLF001
            if handle is not None:
                handle.close()
        return panels


def require_stored(images: MasterImages, indices: Iterable[int]) -> None:
    """Make sure that images are stored that dxtbx is going to read: what isn't there it takes for zeros.

    Raises
    ------
    FrameMissing
        One has not been written, or its data file isn't there.
    """
    with closing(images):  # before dxtbx opens the virtual dataset
        for index in indices:
            try:
                unstored = images.find_unstored(index)
            except NotReady as error:
                raise _not_ready(images.layout, index, error) from error
            if unstored is not None:
                raise _unwritten(images.layout, index, unstored)


def _not_ready(layout: Layout, index: int, error: NotReady) -> FrameMissing:
    if isinstance(error, FileAbsent):
        return FrameMissing(
            f"the data file {error.file} with image {index + 1} of {layout.master} is missing; "
            "wait until the detector has written it"
        )
    return FrameMissing(f"image {index + 1} of {layout.master} can't be read yet: it waits for {error}")


def _unwritten(layout: Layout, index: int, block: ImageBlock) -> FrameMissing:
    frame = block.frame_of(index)
    where = block.dataset if frame is None else f"frame {frame} of {block.dataset}"
    return FrameMissing(
        f"image {index + 1} of {layout.master} is not in {block.file.find() or block.file.expected} ({where}); "
        "it has not been written, or the writer has not flushed it"
    )


def _find_unknown_filter(dataset: h5py.Dataset) -> str | None:
    """Say what HDF5 lacks to decompress a dataset; None: nothing."""
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            label = f" ({name.decode(errors='replace')})" if name else ""
            return f"HDF5's filter {code}{label}, which isn't known here: add its plugin to HDF5_PLUGIN_PATH"
    return None


def _are_equal(pixels: np.ndarray[Any, Any], panel: Any) -> bool:
    """Tell whether a panel has these pixels; what is no number in both is the same."""
    return np.array_equal(pixels, flumpy.to_numpy(panel), equal_nan=True)


def _same_as_int32(stored: np.dtype[Any], mapped: np.dtype[Any]) -> bool:
    """Tell whether the master's type makes no difference to 32-bit integers in the end."""
    return mapped == stored or (stored.kind in "iu" and mapped.kind in "iu" and np.can_cast(stored, mapped))


def _as_flex(pixels: np.ndarray[Any, Any], bit_depth: int | None) -> Any:
    """Convert as `dxtbx.nexus.get_raw_data` and `FormatNXmx.get_raw_data` do: the two highest values mean masked.

    Parameters
    ----------
    pixels
        A panel's counts, (slow, fast), of any type of number.

    Returns
    -------
    flex array
        The same shape; 32-bit integers, -1 or -2 where masked, or floats where the counts are.
    """
    # flex.int has 32 bits: a masked pixel of 32 bits, 2^32 - 1, becomes -1 by that alone.
    dtype = np.dtype(np.int32) if pixels.dtype.kind in "iu" else _float_of_dxtbx(pixels.dtype)
    counts: Any = flumpy.from_numpy(np.ascontiguousarray(pixels, dtype=dtype))
    if bit_depth:
        top = 2**31 if bit_depth == _MOST_BITS else 2**bit_depth  # DIALS's integers are signed
        flat = counts.as_1d()  # of the same memory
        flat.set_selected(flat == top - 1, -1)
        flat.set_selected(flat == top - 2, -2)
    return counts


@cache
def _float_of_dxtbx(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return what dxtbx makes of a type of floats: that depends on its version, and on the order of their bytes."""
    one: Any = nexus._dataset_as_flex(np.zeros((1, 1, 1), stored), (slice(None),) * 3)  # noqa: SLF001
    return np.dtype(flumpy.to_numpy(one).dtype)


def reads_plain_frames(format_class: type) -> bool:
    """Tell whether a dxtbx format reads its frames as FormatNXmx does, so that a FrameReader may stand in."""
    return issubclass(format_class, FormatNXmx) and format_class.get_raw_data is FormatNXmx.get_raw_data
