"""What an image file holds, decompressed. It's read once: dxtbx is lent what was read here."""

from __future__ import annotations

import io
import os
from functools import cached_property
from typing import Any

from dxtbx.format.Format import Format

from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.single_images.file_bytes import COMPRESSED_SUFFIXES, DecompressedBytes, PlainBytes
from tasks.diffraction.image_files.single_images.plain_names import plain_name
from tasks.file_version import FileVersion
from tasks.regular_files import open_regular

START_BYTES = 16 * 1024
"""More than any header that is looked at: that of a CBF file has 2 KB, those of CCD detectors 0.5 to 8 KB."""

LARGEST_IMAGE = 2**30
"""Bytes, decompressed: the largest detectors' images have 150 MB. A small compressed file may hold any number."""


class ImageContent:
    """The bytes of an image file, and its state when it was opened.

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
        opened = open_regular(file)
        self.status = os.fstat(opened.fileno())
        suffix = os.path.splitext(file)[1]  # noqa: PTH122 - once an image
        self.is_compressed = suffix in COMPRESSED_SUFFIXES
        self._bytes = (
            DecompressedBytes(opened, suffix) if self.is_compressed else PlainBytes(opened, self.status.st_size)
        )

    @cached_property
    def start(self) -> bytes:
        """The first bytes."""
        return self._read(START_BYTES)

    @cached_property
    def whole(self) -> bytes:
        """All bytes."""
        read = self._read(LARGEST_IMAGE + 1)
        if len(read) > LARGEST_IMAGE:
            raise ImageUnreadable(f"{self.file} holds more than {LARGEST_IMAGE:,} bytes; expected a single image")
        return read

    @cached_property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.whole) if self.is_compressed else self.status.st_size

    def _read(self, count: int) -> bytes:
        return self._bytes.read(count)

    def lend_to_dxtbx(self) -> None:
        """Let dxtbx, which opens a file many times, find there what was read here, if all of it was."""
        if "whole" in vars(self):
            cache: Any = Format.get_cache_controller()
            # dxtbx has no public way
            cache._cache_tag, cache._cache = self.plain_name, _Lent(self.whole, self._bytes.file)  # noqa: SLF001

    def close(self) -> None:
        """Close the file; what was read of it stays."""
        self._bytes.close()

    @property
    def has_changed(self) -> bool:
        """Whether somebody has written to the file, or replaced it, since."""
        with open_regular(self.file) as opened:  # opened, since NFS clients ask the server then only
            return FileVersion.of(os.fstat(opened.fileno())) != FileVersion.of(self.status)


class _LentFile(io.BytesIO):
    """A file that dxtbx opens, in which it looks at how it's compressed (FormatCBFFull)."""

    def __init__(self, cached: _Lent, content: bytes) -> None:
        super().__init__(content)  # no copy, unless it's written to
        self._cache_object = cached


class _Lent:
    """Stands in dxtbx's cache of the last file, a `dxtbx.filecache.lazy_file_cache`, which keeps 4 MB at most."""

    def __init__(self, content: bytes, file: object) -> None:
        self._content = content
        self._file = file

    def open(self) -> _LentFile:
        return _LentFile(self, self._content)

    def close(self) -> None:
        self._content = b""
