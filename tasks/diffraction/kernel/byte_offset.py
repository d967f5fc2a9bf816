"""CBF's byte offset compression, undone: each count is stored as the step from the one before."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tasks.diffraction.kernel.compiled import COMPILED

STREAM_ENDS: Final = "its data end at pixel {decoded:,} of {wanted:,}: the file is cut off, or its header wrong"

_LONGER = -128  # a step of two bytes follows
_LONGER_STILL = -32768  # one of four bytes follows


def decode_byte_offset(data: Any, out: np.ndarray[Any, np.dtype[np.int32]]) -> int:
    """Decode an image into an array.

    Parameters
    ----------
    data
        What is compressed: bytes, or anything with a buffer.
    out
        Where counts go, C-contiguous, of any shape. As in dxtbx, they are what they are modulo 2³².

    Returns
    -------
    int
        How many bytes of `data` they took.

    Raises
    ------
    ValueError
        The data end too early.
    """
    if out.dtype != np.int32 or not out.dtype.isnative or not out.flags.carray:
        raise ValueError(f"counts go into a C-contiguous array of int32; seen {out.dtype} with {out.strides} strides")
    counts = out.reshape(-1)
    if COMPILED is None:
        return _decode_in_python(np.frombuffer(data, np.uint8), counts)
    return _decode_compiled(data, counts)


def _decode_compiled(data: Any, counts: np.ndarray[Any, np.dtype[np.int32]], processor: str | None = None) -> int:
    used, decoded = COMPILED.decode_byte_offset(data, counts, processor)
    if used < 0:
        raise ValueError(STREAM_ENDS.format(decoded=decoded, wanted=counts.size))
    return int(used)


def _decode_in_python(data: np.ndarray[Any, np.dtype[np.uint8]], counts: np.ndarray[Any, np.dtype[np.int32]]) -> int:
    """Do the same without native code: what lies between two longer steps is taken at once."""
    wanted = counts.size
    steps = counts  # in place: at 6 megapixels each array of 64 bits more would be 50 MB
    short = data.view(np.int8)
    markers = np.flatnonzero(short == _LONGER)
    at = done = 0
    for marker in markers:
        if marker < at:  # it lies within a longer step
            continue
        length = min(int(marker) - at, wanted - done)
        steps[done : done + length] = short[at : at + length]
        at, done = at + length, done + length
        if done == wanted:
            break
        step, at = _longer_step(data, at, done, wanted)
        steps[done] = step
        done += 1
    length = min(data.size - at, wanted - done)
    if length < wanted - done:
        raise ValueError(STREAM_ENDS.format(decoded=done + length, wanted=wanted))
    steps[done:] = short[at : at + length]
    np.cumsum(steps, dtype=np.int32, out=counts)
    return at + length


def _longer_step(data: np.ndarray[Any, Any], at: int, done: int, wanted: int) -> tuple[int, int]:
    """Return the step that begins with the marker at `at`, and where the next one begins."""
    for start, size, marker in ((at + 1, 2, _LONGER_STILL), (at + 3, 4, None)):
        stored = data[start : start + size].tobytes()
        if len(stored) < size:
            raise ValueError(STREAM_ENDS.format(decoded=done, wanted=wanted))
        step = int.from_bytes(stored, "little", signed=True)
        if step != marker:
            break
    return step, start + size
