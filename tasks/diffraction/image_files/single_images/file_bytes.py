"""The bytes of a file, decompressed as dxtbx would: by the suffix of its name."""

from __future__ import annotations

import bz2
import io
import zlib
from typing import Any, BinaryIO

from isal.igzip import IGzipFile
from isal.isal_zlib import error as GzipFault  # noqa: N812

GZIP, BZIP2 = COMPRESSED_SUFFIXES = (".gz", ".bz2")

_PIECE = 128 * 1024  # bytes that are decompressed at once: they stay in the processor's cache


class PlainBytes:
    """The bytes of a file as it is.

    Parameters
    ----------
    opened
        The file, open for reading.
    size
        How many there are, or will be looked at.
    """

    def __init__(self, opened: BinaryIO, size: int) -> None:
        self.file: object = opened
        self._opened = opened
        self._size = size

    def read(self, count: int) -> bytes:
        """Return the first bytes, at most so many."""
        self._opened.seek(0)
        return self._opened.read(min(count, self._size))

    def close(self) -> None:
        """Close the file."""
        self._opened.close()


class DecompressedBytes:
    """The bytes that a compressed file holds. Piece by piece: there's no second copy of them, nor more than is wanted.

    Parameters
    ----------
    opened
        The file, open for reading.
    suffix
        That of its name.
    """

    def __init__(self, opened: BinaryIO, suffix: str) -> None:
        self._opened = opened
        self.file: Any = bz2.BZ2File(opened) if suffix == BZIP2 else IGzipFile(fileobj=opened)
        self._decompressed = io.BytesIO()

    def read(self, count: int) -> bytes:
        """Return the first bytes, at most so many.

        Raises
        ------
        EOFError
            The file ends too early.
        OSError, zlib.error
            It's damaged, or no compressed file.
        """
        while (missing := count - self._decompressed.tell()) > 0:
            try:
                piece = self.file.read(min(missing, _PIECE))
            except GzipFault as error:  # type: ignore[misc]  # its stub has an instance
                raise zlib.error(str(error)) from error
            if not piece:
                break
            self._decompressed.write(piece)
        if count < self._decompressed.tell():
            return self._decompressed.getbuffer()[:count].tobytes()
        return self._decompressed.getvalue()  # its own memory, no copy

    def close(self) -> None:
        """Close the file."""
        self.file.close()  # which doesn't close what it hasn't opened
        self._opened.close()
