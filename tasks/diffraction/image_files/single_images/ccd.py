"""What files of CCD detectors say of themselves: their length, and the header's lines that DIALS needs.

SMV (ADSC, Rigaku: `.img`), TIFF (MAR, Rayonix: `.mccd`) and Bruker's files have pixels of a fixed size behind a header.
"""

from __future__ import annotations

import re
import struct

SMV_MAGIC = b"{\nHEADER_BYTES="
TIFF_MAGICS = {b"II*\0": "<", b"MM\0*": ">"}

_SMV_PIXEL_BYTES = {
    "unsigned_short": 2,
    "unsignedshort": 2,
    "signed_short": 2,
    "short": 2,
    "short int": 2,
    "unsigned short int": 2,
    "unsigned_int": 4,
    "unsigned_long": 4,
    "signed_long": 4,
    "long int": 4,
    "unsigned long int": 4,
    "int": 4,
    "float": 4,
    "float ieee": 4,
}
# What dxtbx asks of an ADSC header (FormatSMVADSC), by which it knows it; Rigaku's have others
_SMV_NUMBERS = ("BEAM_CENTER_X", "BEAM_CENTER_Y", "DISTANCE", "WAVELENGTH", "PIXEL_SIZE", "OSC_START", "OSC_RANGE")
_SMV_SIZES = ("SIZE1", "SIZE2")
_SMV_POSITIVE = frozenset({"DISTANCE", "WAVELENGTH", "PIXEL_SIZE", *_SMV_SIZES})
_UNWRITTEN_SHARE = 4
"""A file whose last quarter is zeros isn't written: its detector's pixels count from a pedestal, also in the dark."""

BRUKER_MAGIC = b"FORMAT :"
_IMAGE_PLATES = (struct.pack("<i", 1234), struct.pack(">i", 1234))  # mar345, in either order of bytes
_SHORTEST_HEADER = 4096
"""Bytes of the header of a MAR or Rayonix file; one of Bruker's has 7680."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIP_OFFSETS, _STRIP_BYTES = 256, 257, 258, 259, 273, 279
_SHORT = 3
_TIFF_TYPES = {_SHORT: "H", 4: "I"}
_UNCOMPRESSED = (_SHORT, 1, 1)


def expected_size(start: bytes) -> int | None:
    """Return how many bytes a file with this start should have, at least; None if it doesn't tell."""
    if start.startswith(SMV_MAGIC):
        return _smv_size(read_smv_header(start))
    if start[:4] in TIFF_MAGICS:
        return _tiff_size(start, TIFF_MAGICS[start[:4]])
    if start.startswith(BRUKER_MAGIC):
        return _bruker_size(start)
    return None


def has_header(start: bytes) -> bool:
    """Tell whether a file of one of these formats has its header, up to its end; any other has it."""
    if start.startswith(SMV_MAGIC):
        return b"\n}" in start
    if start[:4] in TIFF_MAGICS or start.startswith(BRUKER_MAGIC):
        return len(start) >= _SHORTEST_HEADER
    return not (len(start) < len(SMV_MAGIC) and SMV_MAGIC.startswith(start))


def tells_no_length(start: bytes) -> bool:
    """Tell whether it's an image file whose length only its reader can know."""
    if (
        start[:4] in _IMAGE_PLATES
        or start.startswith((b"R-AXIS", b"RAXIS"))
        or re.match(rb"\{\s*(EDF_|HeaderID)", start)
    ):
        return True
    is_measured = start.startswith((SMV_MAGIC, BRUKER_MAGIC)) or start[:4] in TIFF_MAGICS
    return is_measured and expected_size(start) is None


def read_smv_header(start: bytes) -> dict[str, str]:
    """Return the header's values by name, as far as it's there."""
    text = start.partition(b"\n}")[0].decode("latin-1")
    return {name.strip(): value.strip() for name, value in re.findall(r"^([^=\n{]+)=([^;\n]*);?", text, re.MULTILINE)}


def _smv_size(header: dict[str, str]) -> int | None:
    kind = header.get("TYPE") or header.get("Data_type") or ""
    pixel = _SMV_PIXEL_BYTES.get(kind.lower())
    compressed = header.get("COMPRESSION", "None").lower() not in ("none", "")
    try:
        size = int(header["HEADER_BYTES"]), int(header["SIZE1"]), int(header["SIZE2"])
    except (KeyError, ValueError):
        return None
    return None if pixel is None or compressed else size[0] + size[1] * size[2] * pixel


def smv_data_that_can_not_be_zero(start: bytes, size: int) -> int | None:
    """Return from which byte on a SMV file of this size can't have zeros only; None if it may."""
    try:
        has_pedestal = float(read_smv_header(start).get("IMAGE_PEDESTAL", 0)) > 0
    except ValueError:
        return None
    return size - size // _UNWRITTEN_SHARE if has_pedestal else None


def find_smv_header_faults(start: bytes) -> list[str]:
    """Say which lines of an ADSC header are missing or have no usable number."""
    header = read_smv_header(start)
    if "DTREK_DATE_TIME" in header or "DETECTOR_NAMES" in header:  # Rigaku's: its lines have the detector's name
        return []
    faults = []
    for name in (*_SMV_NUMBERS, *_SMV_SIZES, "BYTE_ORDER"):
        if name not in header:
            faults.append(f"line {name} is missing from its header")
        elif name != "BYTE_ORDER" and not _is_usable(header[name], name in _SMV_POSITIVE):
            faults.append(f"line {name} of its header can't be used: {header[name][:60]!r}")
    return faults


def _is_usable(text: str, positive: bool) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return value > 0 if positive else value == value


def _tiff_size(start: bytes, order: str) -> int | None:
    """Return where the pixels of the first directory end, as dxtbx reads them; if they are compressed, the strips."""
    try:
        tags = _read_tiff_tags(start, order)
        offsets = _tiff_values(start, order, tags[_STRIP_OFFSETS])
        if tags.get(_COMPRESSION, _UNCOMPRESSED)[2] == _UNCOMPRESSED[2]:
            width, height, bits = (tags[tag][2] for tag in (_WIDTH, _HEIGHT, _BITS))
            return min(offsets) + width * height * bits // 8
        sizes = _tiff_values(start, order, tags[_STRIP_BYTES])
    except (struct.error, KeyError):
        return None
    return max(offset + size for offset, size in zip(offsets, sizes, strict=False))


def _read_tiff_tags(start: bytes, order: str) -> dict[int, tuple[int, int, int]]:
    """Return the type, the count and the value (or its place) of each tag."""
    (directory,) = struct.unpack_from(order + "I", start, 4)
    (count,) = struct.unpack_from(order + "H", start, directory)
    tags = {}
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, values, value = struct.unpack_from(order + "HHII", start, at)
        if kind == _SHORT and values == 1:  # it lies in the first half of its field
            (value,) = struct.unpack_from(order + "H", start, at + 8)
        tags[tag] = (kind, values, value)
    return tags


def _tiff_values(start: bytes, order: str, tag: tuple[int, int, int]) -> tuple[int, ...]:
    kind, count, value = tag
    return (value,) if count == 1 else struct.unpack_from(f"{order}{count}{_TIFF_TYPES[kind]}", start, value)


def _bruker_size(start: bytes) -> int | None:
    """Return header and pixels: the table of overflows behind them is of unknown size in some versions."""
    header: dict[str, list[str]] = {}
    for at in range(0, min(len(start), 96 * 80), 80):
        name, _, value = start[at : at + 80].decode("latin-1").partition(":")
        header.setdefault(name.strip(), value.split())
    try:
        blocks, rows, columns, pixel = (int(header[name][0]) for name in ("HDRBLKS", "NROWS", "NCOLS", "NPIXELB"))
    except (KeyError, IndexError, ValueError):
        return None
    return 512 * blocks + rows * columns * pixel
