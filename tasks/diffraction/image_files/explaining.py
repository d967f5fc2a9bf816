"""Why DIALS can't read an image file, in a line that names what is missing: its own errors are a programmer's."""

from __future__ import annotations

import traceback
from zlib import error as ZlibError  # noqa: N812 - as the exception that it is

from tasks.diffraction.errors import ImageAwaited, ImageUnreadable
from tasks.diffraction.image_files import cbf, ccd
from tasks.diffraction.image_files.completeness import may_be_in_the_making
from tasks.diffraction.image_files.content import ImageContent
from tasks.step import USUAL_RETRIES

_STARTS = {
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PK\x03\x04": "a zip file",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
}
_PRINTABLE = frozenset(range(32, 127)) | frozenset(b"\t\r\n")


def describe_error(error: Exception) -> str:
    """Say in a line what an error of DIALS's says; where it says nothing, what it stumbled over."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        key = error.args[0]  # HDF5's is a sentence
        return key if key.startswith("Unable to") else f"line {key} is missing from its header"
    if "DXTBX_ASSERT(nn ==" in str(error):
        return "its compressed data don't make as many pixels as its header promises"
    if "Could not determine filename template" in str(error):
        return "its name has no number, by which DIALS tells a collection's images"
    if words := " ".join(str(error).split()):
        return words
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at `{frames[-1].line}`" if frames else type(error).__name__


def explain_failure(error: Exception, doing: str, content: ImageContent | None = None) -> ImageUnreadable:
    """Return the error for what DIALS couldn't do with an image file: it may pass, or the file is to blame.

    Parameters
    ----------
    doing
        What it was to do, in words.
    content
        What the file held when it was read; None for a master.
    """
    reason = explain(content, error)
    if USUAL_RETRIES.may_pass(error):
        return ImageAwaited(f"DIALS can't {doing} now: {reason}")
    if content is not None and _may_be_unfinished(content):
        return ImageAwaited(f"DIALS can't {doing} yet: {reason}; the file has just been written to")
    return ImageUnreadable(f"DIALS can't {doing}: {reason}")


def _may_be_unfinished(content: ImageContent) -> bool:
    if ccd.tells_no_length(content.start):
        return may_be_in_the_making(content)
    try:
        return content.has_changed
    except OSError:  # it was removed or replaced while DIALS read it
        return True


def explain(content: ImageContent | None, error: Exception) -> str:
    """Say why DIALS can't read a file: which lines of its header, or what it is instead of an image."""
    if content is None:
        return describe_error(error)
    try:
        start, size = content.start, content.size
    except (OSError, EOFError, ZlibError):
        return describe_error(error)
    if start.startswith(cbf.MAGIC):
        faults = cbf.find_header_faults(start)
    elif start.startswith(ccd.SMV_MAGIC):
        faults = ccd.find_smv_header_faults(start)
    else:
        looks = _describe_start(start)
        return f"{describe_error(error)} (its {size:,} bytes are {looks})" if looks else describe_error(error)
    return "; ".join(faults) or describe_error(error)


def _describe_start(start: bytes) -> str | None:
    for magic, name in _STARTS.items():
        if start.startswith(magic):
            return name
    words = start[:40]
    if all(byte in _PRINTABLE for byte in words):
        return f"text that begins with {words.decode('ascii')!r}"
    return None
