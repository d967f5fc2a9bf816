"""Why an image can't be analysed or drawn, for good or for now: the image, or DIALS."""

from __future__ import annotations

from blocks.errors import PassingFault, PlazaError


class ImageUnreadable(PlazaError):
    """An image file is missing, incomplete or in no format that DIALS knows."""


class ImageMissing(ImageUnreadable, PassingFault):
    """An image file isn't there, or isn't seen on this machine yet."""


class ImageAwaited(ImageUnreadable, PassingFault):
    """An image file is being written, or can't be read now for a fault of the system that may pass."""


class DialsUnavailable(PlazaError):
    """No DIALS process can be started."""


class DialsNotYet(DialsUnavailable, PassingFault):
    """No DIALS process can be started now: memory is short, a file system away, or somebody ends them."""
