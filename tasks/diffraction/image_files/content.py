"""What an image file holds, decompressed. It's read once: dxtbx is lent what was read here."""

from __future__ import annotations

import bz2
import gzip
import io
import os
from functools import cached_property
from typing import Any, BinaryIO

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

_PIECE = 2**20  # bytes that are decompressed at once


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
        self._bytes: _PlainBytes | _DecompressedBytes = (
            _DecompressedBytes(opened, file) if self.is_compressed else _PlainBytes(opened, self.status.st_size)
        )

    @property
    def is_compressed(self) -> bool:
        """Whether what the file holds is another size than the file."""
        return self.file.endswith(COMPRESSED_SUFFIXES)

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


class _PlainBytes:
    """The bytes of a file as it is."""

    def __init__(self, opened: BinaryIO, size: int) -> None:
        self.file = self._opened = opened
        self._size = size

    def read(self, count: int) -> bytes:
        """Return the first bytes, at most so many."""
        self._opened.seek(0)
        return self._opened.read(min(count, self._size))

    def close(self) -> None:
        self._opened.close()


class _DecompressedBytes:
    """The bytes of a compressed file. Piece by piece: there's never a second copy of them, nor more than is wanted."""

    def __init__(self, opened: BinaryIO, file: str) -> None:
        self._opened = opened
        # They don't close what they haven't opened themselves.
        self.file = bz2.BZ2File(opened) if file.endswith(".bz2") else gzip.GzipFile(fileobj=opened)
        self._decompressed = io.BytesIO()

    def read(self, count: int) -> bytes:
        """Return the first bytes, at most so many."""
        while (missing := count - self._decompressed.tell()) > 0:
            piece = self.file.read(min(missing, _PIECE))
            if not piece:
                break
            self._decompressed.write(piece)
        if count < self._decompressed.tell():
            return self._decompressed.getbuffer()[:count].tobytes()
        return self._decompressed.getvalue()  # its own memory, no copy

    def close(self) -> None:
        self.file.close()
        self._opened.close()


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
