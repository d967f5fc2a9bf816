"""Counts of a CBF file, which are compressed by byte offset mostly, decoded from what was read of the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from dxtbx.format.FormatCBFFullByteOffset import FormatCBFFullByteOffset
from dxtbx.format.FormatCBFFullPilatus import FormatCBFFullPilatus
from dxtbx.format.FormatCBFMini import FormatCBFMini
from dxtbx.format.FormatCBFMiniEiger import FormatCBFMiniEiger
from dxtbx.format.FormatCBFMiniPilatus import FormatCBFMiniPilatus

from tasks.diffraction.errors import ImageUnreadable
from tasks.diffraction.image_files.explaining import explain_failure
from tasks.diffraction.image_files.raw.frame import NotRaw, RawFrame
from tasks.diffraction.image_files.raw.kept_arrays import KEPT
from tasks.diffraction.image_files.single_images import cbf
from tasks.diffraction.image_files.single_images.content import ImageContent
from tasks.diffraction.kernel import decode_byte_offset

_PLAIN = (FormatCBFMini, FormatCBFMiniPilatus, FormatCBFMiniEiger, FormatCBFFullPilatus, FormatCBFFullByteOffset)
_READERS = frozenset(kind.get_raw_data for kind in _PLAIN)
_DECODERS = frozenset(kind._read_cbf_image for kind in _PLAIN)  # noqa: SLF001 - detectors of one beamline have others

_EXPECTED = {
    b"X-Binary-Element-Type": b"signed 32-bit integer",
    b"X-Binary-Element-Byte-Order": b"little_endian",
}
_SIZES = (
    b"X-Binary-Size-Fastest-Dimension",
    b"X-Binary-Size-Second-Dimension",
    b"X-Binary-Number-of-Elements",
    b"X-Binary-Size",
)


class RawCbf:
    """Reads the counts of a CBF file.

    Parameters
    ----------
    content
        What the file holds.
    detector
        dxtbx's model.
    """

    def __init__(self, content: ImageContent, detector: Any) -> None:
        self._content = content
        (panel,) = detector
        self._trusted = panel.get_trusted_range()
        self._shape = panel.get_image_size()[::-1]

    def read(self, index: int = 0) -> RawFrame:
        """Return the image.

        Raises
        ------
        NotRaw
            It's compressed in another way, or its counts are of another type than 32-bit integers.
        ImageUnreadable
            It's damaged, or isn't one of this detector.
        """
        section = read_section(self._content.whole)
        shape = section.slow, section.fast
        if shape != self._shape or section.elements != prod(shape):
            raise ImageUnreadable(
                f"{self._content.file} has {section.elements:,} counts, {section.slow} × {section.fast} (slow × fast); "
                f"its detector has {self._shape[0]} × {self._shape[1]} pixels"
            )
        counts = KEPT.array("frame", shape, np.int32)
        try:
            decode_byte_offset(section.data, counts)
        except ValueError as error:
            raise explain_failure(error, f"read {self._content.file}", self._content) from error
        return RawFrame((counts,), (self._trusted,))


def reads_byte_offset(format_class: Any) -> bool:
    """Tell whether a dxtbx format decodes its image as it stands in the file, and does no more with it."""
    return format_class.get_raw_data in _READERS and getattr(format_class, "_read_cbf_image", None) in _DECODERS


@dataclass(frozen=True, slots=True)
class _ByteOffsetSection:
    """The first binary section of a CBF file: its sizes by its own header, and its data, which are compressed."""

    fast: int
    slow: int
    elements: int
    data: memoryview


def read_section(content: bytes) -> _ByteOffsetSection:
    """Read the section that dxtbx decodes.

    Raises
    ------
    NotRaw
        There's none, or of another kind.
    """
    start = content.find(cbf.DATA_START)
    head = content[content.rfind(cbf.SECTION, 0, start) : start] if start >= 0 else b""
    conversions = re.search(rb'conversions="?([^"\s;]+)', head)
    if conversions is None or conversions[1] != b"x-CBF_BYTE_OFFSET":
        raise NotRaw(f"it's compressed by {_say(conversions)}, not by byte offset")
    for name, expected in _EXPECTED.items():
        value = re.search(rb"^" + name + rb':[ \t]*"?([^"\r\n]+)', head, re.MULTILINE)
        if value is None or value[1].strip().lower() != expected:
            raise NotRaw(f"its {name.decode()} is {_say(value)}; expected {expected.decode()}")
    fast, slow, elements, size = (_number(head, name) for name in _SIZES)
    start += len(cbf.DATA_START)
    return _ByteOffsetSection(fast, slow, elements, memoryview(content)[start : start + size])


def _number(head: bytes, name: bytes) -> int:
    value = re.search(rb"^" + name + rb":[ \t]*(\d+)", head, re.MULTILINE)
    if value is None:
        raise NotRaw(f"its header has no {name.decode()}")
    return int(value[1])


def _say(found: re.Match[bytes] | None) -> str:
    return "nothing that it names" if found is None else repr(found[1].decode("latin-1"))
