"""Whether a shared library's file is whole: where its end is missing, loading it ends the process by SIGBUS.

A full disk may cut it off while it's compiled, or a copy that was interrupted.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct("<16s2HI3QI6H")
"""Of ELF, 64 bits, little-endian: as x86-64 and 64-bit Arm have it."""
_SEGMENT: Final = struct.Struct("<2I6Q")
_IDENTITY: Final = b"\x7fELF\x02\x01"


def size_and_least(file: Path) -> tuple[int, int]:
    """Return the size of a shared library, and the least that it must have by its own tables, bytes.

    What isn't such a file must have its header at least; another machine's or system's must have nothing.

    Raises
    ------
    OSError
        It can't be read.
    """
    with file.open("rb") as content:
        size = file.stat().st_size
        head = content.read(_HEADER.size)
        if not head.startswith(_IDENTITY[: len(head)]):
            return size, 0
        if len(head) < _HEADER.size:
            return size, _HEADER.size
        _, _, _, _, _, segments_at, sections_at, _, _, _, segments, section_size, sections, _ = _HEADER.unpack(head)
        least = max(segments_at + segments * _SEGMENT.size, sections_at + sections * section_size)
        content.seek(segments_at)
        table = content.read(segments * _SEGMENT.size)
    for _, _, offset, _, _, in_file, _, _ in _SEGMENT.iter_unpack(table[: len(table) // _SEGMENT.size * _SEGMENT.size]):
        least = max(least, offset + in_file)
    return size, least
