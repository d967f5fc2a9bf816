"""Find spots in images at once, without a server: what `plaza spots` does, for programs too."""

from tasks.spots.finding import FoundSpots, SpotFinder
from tasks.spots.images import Image, ImageList

__all__ = ["FoundSpots", "Image", "ImageList", "SpotFinder"]
