"""How many images go to a Dask worker together."""

from __future__ import annotations

import math

CHUNK_S = 0.25  # a Dask task costs some ms: little of this. People watch results come, and a lost worker's come again
LARGEST_CHUNK = 64  # images, however quick they seem to be


def chunk_size(waiting: int, workers: int, seconds_per_image: float | None) -> int:
    """Choose how many of the waiting images go into the next chunk.

    As many as take CHUNK_S, but never so many that some workers are idle at the end while another has a full chunk.

    Parameters
    ----------
    waiting
        Images that wait.
    workers
        Workers of the cluster.
    seconds_per_image
        As measured; None before the first result.

    >>> chunk_size(200, workers=2, seconds_per_image=0.005), chunk_size(1, workers=2, seconds_per_image=0.005)
    (50, 1)
    >>> chunk_size(8, workers=2, seconds_per_image=0.02), chunk_size(100, workers=2, seconds_per_image=2.0)
    (2, 1)
    """
    if seconds_per_image is None:
        return 1
    fitting = round(CHUNK_S / max(seconds_per_image, 1e-4))
    fair = math.ceil(waiting / (2 * workers))
    return max(1, min(fitting, fair, LARGEST_CHUNK))
