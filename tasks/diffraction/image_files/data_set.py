"""An image file as DIALS sees it: its models, and its images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.hdf5_frames import require_stored
from tasks.diffraction.image_files.raw.cbf_pixels import RawCbf
from tasks.diffraction.image_files.raw.frame import NotRaw, RawFrame
from tasks.diffraction.image_files.raw.master_frames import RawMasterFrames
from tasks.diffraction.image_files.single_images.content import ImageContent
from tasks.file_version import are_as_before
from tasks.nexus.errors import NotReady, UnusableMaster
from tasks.nexus.images import MasterImages
from tasks.nexus.metadata import Metadata, require_metadata


@dataclass(frozen=True)
class DataSet:
    """An image file's models (a DIALS ExperimentList) and its images.

    Parameters
    ----------
    images
        Those of a master whose layout Plaza knows.
    raw
        Reads the counts as they are stored; NotRaw: why only dxtbx can. None: its format isn't one that's known.
    metadata
        What the models and the mask of a master were read from.
    content
        What a file that isn't a master held when it was read.
    """

    file: str
    experiments: Any
    images: MasterImages | None = None
    raw: RawMasterFrames | RawCbf | NotRaw | None = None
    metadata: Metadata = field(default_factory=lambda: Metadata({}, 0))
    content: ImageContent | None = None

    @property
    def imageset(self) -> Any:
        """All images of the file."""
        return self.experiments[0].imageset

    @property
    def is_single_image(self) -> bool:
        """Whether the file is one image, which needs no number."""
        return self.content is not None and len(self.imageset) == 1

    @property
    def is_unchanged(self) -> bool:
        """Whether a single image's file is the one that was read, as it was."""
        try:
            return self.content is not None and not self.content.has_changed
        except (OSError, ValueError):
            return False

    @property
    def is_direct(self) -> bool:
        """Whether a master's images are read from the data files, not by dxtbx."""
        return isinstance(self.raw, RawMasterFrames)

    def read_raw(self, index: int = 0) -> RawFrame:
        """Return an image's counts as they are stored.

        Parameters
        ----------
        index
            The image's place in the data set, from 0.

        Raises
        ------
        NotRaw
            Only dxtbx can read them; the message says why.
        FrameMissing
            The image has not been written, or its data file isn't there.
        ImageUnreadable
            There's no such image, or it's damaged, or isn't one of this detector.
        """
        self.require_image(index)
        if self.raw is None:
            raise NotRaw(f"only {self._format_class.__name__} reads it")
        if isinstance(self.raw, NotRaw):
            raise NotRaw(str(self.raw))
        return self.raw.read(index)

    def require_image(self, index: int) -> None:
        """Make sure that there's an image at a place from 0.

        Raises
        ------
        ImageUnreadable
            There's none.
        """
        if not 0 <= index < len(self.imageset):
            raise ImageUnreadable(f"{self.file} has images 1 to {len(self.imageset)}; asked for was {index + 1}")

    @cached_property
    def hidden_pixels(self) -> dict[int, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Which pixels say nothing in any image, bool (slow, fast) by the panel's number, as far as that was asked."""
        return {}

    @cached_property
    def static_mask(self) -> Any:
        """Which pixels are usable in any image, a flex.bool for each panel; None: all are."""
        file = self.content.plain_name if self.content else self.file
        return self._format_class.get_instance(file).get_static_mask()

    @property
    def _format_class(self) -> Any:
        return self.imageset.get_format_class()

    @property
    def may_be_kept(self) -> bool:
        """Whether the next image may be read with what is open now.

        Where dxtbx reads by a virtual dataset, its handle and one of a data file must not be open at once.
        """
        return self.is_direct or self.images is None or not self.images.layout.is_virtual

    def as_of_now(self) -> DataSet | None:
        """Return the data set, if what its models, its mask and its images' places were read from is as before.

        What is said of an image may not depend on what this process has read before.
        """
        if self.images is not None and not _are_in_place(self.images):
            return None
        if are_as_before(self.metadata.versions):
            return self
        if self.images is None:
            return None
        try:
            metadata = require_metadata(self.file)
        except (NotReady, UnusableMaster):
            return None
        return replace(self, metadata=metadata) if metadata.fingerprint == self.metadata.fingerprint else None

    def require(self, scan_range: tuple[int, int] | None = None) -> None:
        """Make sure that images (from 1, both ends included; all if None) are stored, if dxtbx is to read them.

        Raises
        ------
        FrameMissing
            One isn't, or its data file isn't there.
        """
        if self.images is None or self.is_direct:
            return
        first, last = scan_range or (1, len(self.imageset))
        require_stored(self.images, range(max(first, 1) - 1, last))

    def close(self) -> None:
        """Close the files that are open."""
        if self.images is not None:
            self.images.close()


def _are_in_place(images: MasterImages) -> bool:
    """Tell whether the files are as before that say where the images are, and no further one has come."""
    awaits = images.layout.awaits
    return are_as_before(images.layout.read_from) and not (awaits and Path(awaits.file).exists())
