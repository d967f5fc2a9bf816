"""What an image file holds, decompressed. It's read once: dxtbx finds in its own cache what was read here."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any, cast

from dxtbx.format.Format import Format

from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.plain_names import plain_name
from tasks.file_version import FileVersion
from tasks.regular_files import open_regular

START_BYTES = 16 * 1024
"""More than any header that is looked at: that of a CBF file has 2 KB, those of CCD detectors 0.5 to 8 KB."""

LARGEST_IMAGE = 2**30
"""Bytes, decompressed: the largest detectors' images have 150 MB. A small compressed file may hold any number."""

COMPRESSED_SUFFIXES = (".gz", ".bz2")  # by which dxtbx decompresses


class ImageContent:
    """The bytes of an image file, and its state when they were read.

    Parameters
    ----------
    file
        Its path.

    Raises
    ------
    OSError
        It can't be opened, or, later, be read.
    EOFError
        Later: it's compressed, and ends too early.
    ImageUnreadable
        Later: it holds more than any image.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.plain_name = plain_name(file)
        self.status = os.stat(file)  # noqa: PTH116 - once an image
        self._opened: Any = Format.open_file(self.plain_name)

    @property
    def is_compressed(self) -> bool:
        """Whether what the file holds is another size than the file."""
        return self.file.endswith(COMPRESSED_SUFFIXES)

    @cached_property
    def start(self) -> bytes:
        """The first bytes."""
        return self._read(0, START_BYTES)

    @cached_property
    def whole(self) -> bytes:
        """All bytes."""
        self._opened.seek(0)
        read = cast("bytes", self._opened.read(LARGEST_IMAGE + 1))
        if len(read) > LARGEST_IMAGE:
            raise ImageUnreadable(f"{self.file} holds more than {LARGEST_IMAGE:,} bytes; expected a single image")
        return read

    @cached_property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.whole) if self.is_compressed else self.status.st_size

    def _read(self, offset: int, count: int) -> bytes:
        self._opened.seek(offset)
        return cast("bytes", self._opened.read(count))

    def release(self) -> None:
        """Forget all but the start, once it's known to be complete: dxtbx has its own copy."""
        self.__dict__.pop("whole", None)
        self._opened.close()

    @property
    def has_changed(self) -> bool:
        """Whether somebody has written to the file, or replaced it, since."""
        with open_regular(self.file) as opened:  # opened, since NFS clients ask the server then only
            return FileVersion.of(os.fstat(opened.fileno())) != FileVersion.of(self.status)
