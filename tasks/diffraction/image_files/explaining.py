"""Why DIALS can't read an image file, in a line that names what is missing: its own errors are a programmer's."""

from __future__ import annotations

import re
import traceback
from zlib import error as ZlibError  # noqa: N812 - as the exception that it is

from tasks.diffraction.errors import ImageAwaited, ImageUnreadable
from tasks.diffraction.image_files.single_images import cbf, ccd
from tasks.diffraction.image_files.single_images.completeness import may_be_in_the_making, unreachable
from tasks.diffraction.image_files.single_images.content import ImageContent
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
_CBFLIB_FAULTS = re.compile("CBF_FILE(OPEN|CLOSE|READ|SEEK|TELL)")  # of the system, without its number or words
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)  # of a line, such as Exposure_period
_PRINTABLE = frozenset(range(32, 127)) | frozenset(b"\t\r\n")


def describe_error(error: Exception) -> str:
    """Say in a line what an error of DIALS's says; where it says nothing, what it stumbled over."""
    if name := _name_not_found(error):
        # HDF5's errors are of this type too, and say a whole sentence.
        return name if " " in name else f"nothing is found there by the name {name!r}"
    if "DXTBX_ASSERT(nn ==" in str(error):
        return "its compressed data don't make as many pixels as its header promises"
    if "non-c-contiguous" in str(error):  # of all that is read, Debian 12's dxtbx cuts only the mask
        return "its pixel mask is wider than its panels, whose parts of it this dxtbx can't take"
    if "Could not determine filename template" in str(error):
        return "DIALS finds no number in its name, by which it tells a collection's images"
    if words := " ".join(str(error).split()):
        return words
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at `{frames[-1].line}`" if frames else type(error).__name__


def _name_not_found(error: Exception) -> str | None:
    return error.args[0] if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str) else None


def explain_failure(error: Exception, doing: str, content: ImageContent | None = None) -> ImageUnreadable:
    """Return the error for what DIALS couldn't do with an image file: it may pass, or the file is to blame.

    Parameters
    ----------
    doing
        What it was to do, in words.
    content
        What the file held when it was read; None for a master.
    """
    if content is not None and isinstance(error, FileNotFoundError) and error.filename == content.plain_name:
        return unreachable(content.file, error)
    reason = explain(content, error)
    if USUAL_RETRIES.may_pass(error) or _CBFLIB_FAULTS.search(str(error)):
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
    except (OSError, EOFError, ZlibError, ValueError):  # the last: it's closed, and has no more to say
        return describe_error(error)
    if start.startswith(cbf.MAGIC):
        faults = cbf.find_header_faults(start)
    elif start.startswith(ccd.SMV_MAGIC):
        faults = ccd.find_smv_header_faults(start)
    else:
        looks = _describe_start(start)
        return f"{describe_error(error)} (its {size:,} bytes are {looks})" if looks else describe_error(error)
    return "; ".join(faults) or _find_missing_line(error, start) or describe_error(error)


def _find_missing_line(error: Exception, start: bytes) -> str | None:
    """Say which line a format looked for in a header of lines that has none of that name."""
    name = _name_not_found(error)
    if name is None or not _NAME.fullmatch(name) or name.encode() in start:
        return None
    return f"line {name} is missing from its header"


def _describe_start(start: bytes) -> str | None:
    for magic, name in _STARTS.items():
        if start.startswith(magic):
            return name
    words = start[:40]
    if all(byte in _PRINTABLE for byte in words):
        return f"text that begins with {words.decode('ascii')!r}"
    return None
