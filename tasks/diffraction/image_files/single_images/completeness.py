"""Whether an image file is there as a whole: if not, it's waited for while it may be in the making, then refused."""

from __future__ import annotations

import os
import time
from datetime import datetime
from zlib import error as ZlibError  # noqa: N812 - as the exception that it is

from tasks.diffraction.errors import ImageAwaited, ImageMissing, ImageUnreadable
from tasks.diffraction.image_files.single_images import cbf, ccd
from tasks.diffraction.image_files.single_images.content import ImageContent
from tasks.fresh_folders import open_folder_of
from tasks.nexus.opening import IN_THE_MAKING_S
from tasks.regular_files import NotRegular, require_regular
from tasks.step import USUAL_RETRIES

TOUCHED_S = 2.0
"""Since a file was touched that has an old date, as copies have: its step looks again some times in so long."""


def require_file(file: str) -> os.stat_result:
    """Make sure that there's a file that can be opened without waiting for somebody at its other end.

    Raises
    ------
    ImageMissing
        There's none.
    ImageAwaited
        The file system doesn't answer as it should.
    ImageUnreadable
        It's a folder, a pipe, a socket, a device; or it can't be got at.
    """
    try:
        status = _look_at(file)
    except (OSError, ValueError) as error:
        raise unreachable(file, error) from error
    try:
        require_regular(file, status)
    except NotRegular as error:
        raise ImageUnreadable(f"{file} {error.strerror}; expected the path of an image file") from error
    return status


def _look_at(file: str) -> os.stat_result:
    try:
        return os.stat(file)  # noqa: PTH116 - once an image
    except FileNotFoundError:
        open_folder_of(file)  # who asks for the image may have been told on another machine that it's there
        return os.stat(file)  # noqa: PTH116


def unreachable(file: str, error: Exception) -> ImageUnreadable:
    """Return what a file system's error at a file means: that it has to be waited for, or that waiting won't help.

    A file that isn't there may come, also when it was there a moment ago: to be replaced, it's removed first.
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageMissing(f"the image file {file} does not exist")
    fault = ImageAwaited if USUAL_RETRIES.may_pass(error) else ImageUnreadable
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return fault(f"the image file {file} can't be read: {said}")


def require_complete(content: ImageContent) -> None:
    """Make sure that an image file holds what it says that it holds.

    Raises
    ------
    ImageAwaited
        It doesn't, and may be in the making.
    ImageUnreadable
        It doesn't, and nobody writes to it any more.
    """
    try:
        fault = find_missing(content)
    except (EOFError, OSError, ZlibError) as error:
        # gzip's own errors have no number; those of the file system do.
        if isinstance(error, OSError) and error.errno is not None:
            raise unreachable(content.file, error) from error
        fault = f"it ends too early, or is damaged, as a compressed file ({error or type(error).__name__})"
    if fault is not None:
        raise incomplete(content, fault)


def find_missing(content: ImageContent) -> str | None:
    """Say what a file lacks, by its own header; None if it lacks nothing, or doesn't tell."""
    start = content.start
    if content.is_compressed:
        _ = content.whole  # bzip2 finds damage at a block's end only: until then, the start may be anything
    if not start:
        return "it's empty"
    if not start.strip(b"\0"):
        return f"its first {len(start):,} bytes are zeros"
    if start.startswith(cbf.MAGIC):
        return cbf.find_missing_data(content.whole)
    if cbf.MAGIC.startswith(start) or not ccd.has_header(start):
        return f"it ends after {len(start):,} bytes of its header"
    return _find_missing_pixels(content, start)


def _find_missing_pixels(content: ImageContent, start: bytes) -> str | None:
    expected = ccd.expected_size(start)
    if expected is None:
        return None
    if content.size < expected:
        return f"it has {content.size:,} of the {expected:,} bytes that its header promises"
    if start.startswith(ccd.SMV_MAGIC):
        unwritten = ccd.smv_data_that_can_not_be_zero(start, expected)
        if unwritten is not None and not content.whole[unwritten:expected].strip(b"\0"):
            return f"its last {expected - unwritten:,} bytes are zeros, less than its IMAGE_PEDESTAL"
    return None


def incomplete(content: ImageContent, fault: str) -> ImageUnreadable:
    """Return the error for a file that lacks something, after whether it may still come."""
    if may_be_in_the_making(content):
        return ImageAwaited(f"DIALS can't read {content.file} yet: {fault}")
    written = datetime.fromtimestamp(content.status.st_mtime).astimezone().isoformat(" ", "seconds")
    return ImageUnreadable(f"DIALS can't read {content.file}: {fault}. It was last written at {written}")


def may_be_in_the_making(content: ImageContent) -> bool:
    """Tell whether somebody may still write to a file, by its date, or because it has just been touched."""
    now = time.time()
    if now - content.status.st_mtime < IN_THE_MAKING_S:
        return True
    try:
        return content.has_changed or now - content.status.st_ctime < TOUCHED_S
    except OSError:  # it was removed: a new one may be on its way
        return True
