"""What a CBF file says of itself: its length, its checksum, and the header's lines that DIALS needs.

A binary section is: a MIME header, an empty line, four bytes that mark its start, X-Binary-Size bytes of data (whose
MD5 is Content-MD5), padding, the mark of its end. See the imgCIF dictionary, `_array_data.data`. A miniCBF tells the
geometry in comments, which DIALS reads by itself; a full CBF in tables, for which CBFlib reads the file to its end.
"""

from __future__ import annotations

import base64
import hashlib
import re
from binascii import Error as NotBase64
from math import isfinite, prod

MAGIC = b"###CBF"

SECTION = b"--CIF-BINARY-FORMAT-SECTION--"
_END = b"--CIF-BINARY-FORMAT-SECTION----"
_TEXT_END = re.compile(re.escape(_END) + rb"\s*[\r\n];")  # CIF's mark of a text's end, that the section is in
_TABLES = b"_diffrn.id"  # by which dxtbx knows a full CBF
DATA_START = b"\x0c\x1a\x04\xd5"
_SIZE = re.compile(rb"^X-Binary-Size:[ \t]*(\d+)", re.MULTILINE | re.IGNORECASE)
_DIGEST = re.compile(rb"^Content-MD5:[ \t]*([A-Za-z0-9+/]{22}==)", re.MULTILINE | re.IGNORECASE)
_NO_DIGESTS = frozenset({hashlib.md5(b"", usedforsecurity=False).digest(), bytes(16)})
"""Those of no data, and of nothing: writers that don't compute one leave them there (as they leave blanks)."""
_MANY_ZEROS = 64  # fewer at the end may be counts: in a compressed image a zero is a count like that before it

# What dxtbx reads of a miniCBF header (FormatCBFMini) and can't do without: how many numbers; whether they are above 0
_LINES = {
    "Wavelength": (1, True),
    "Detector_distance": (1, True),
    "Beam_xy": (2, False),
    "Pixel_size": (2, True),
    "Count_cutoff": (1, True),
    "Exposure_period": (1, False),
    "Start_angle": (1, False),
    "Angle_increment": (1, False),
}


def find_missing_data(content: bytes) -> str | None:
    """Say what a CBF file lacks of its data, by its own header; None: nothing.

    Of several binary sections the first one that lacks something counts.
    """
    at = content.find(SECTION)
    if at < 0:
        return f"it ends after {_written(content):,} bytes of its header, before the binary section"
    is_full = content.find(_TABLES, 0, at) >= 0
    while at >= 0:
        start = content.find(DATA_START, at)
        if start < 0:
            return f"it ends after {_written(content):,} bytes, before the data of its binary section"
        head, start = content[at:start], start + len(DATA_START)
        if re.search(rb"^Content-Transfer-Encoding:[ \t]*(?!BINARY)\S", head, re.MULTILINE | re.IGNORECASE):
            return _find_missing_end(content, start, is_full)
        if fault := _find_section_fault(content, head, start):
            return fault
        size = _SIZE.search(head)
        end = start + (int(size[1]) if size else 0)
        at = _find_section(content, end)
    return _find_missing_end(content, end, is_full) if is_full else None


def _find_missing_end(content: bytes, at: int, is_full: bool) -> str | None:
    """Say that a section's end is missing after `at`: its mark, and in a full CBF that of the text that it's in."""
    is_there = _TEXT_END.search(content, at) if is_full else content.find(_END, at) >= 0
    return None if is_there else "the end of its binary section is missing"


def _written(content: bytes) -> int:
    """Return how many bytes there are before the zeros of space that was allocated beforehand."""
    return len(content.rstrip(b"\0"))


def _find_section(content: bytes, at: int) -> int:
    """Return where the next section begins; -1: there is none. The mark of an end begins as that of a section."""
    while (at := content.find(SECTION, at)) >= 0 and content.startswith(_END, at):
        at += len(_END)
    if at >= 0 and not content[at + len(SECTION) :].strip(b"-\0"):
        return -1  # half a mark of an end
    return at


def _find_section_fault(content: bytes, head: bytes, start: int) -> str | None:
    size = _SIZE.search(head)
    if size is None:
        return _find_missing_end(content, start, is_full=False)
    expected, end = int(size[1]), start + int(size[1])
    if len(content) < end:
        return f"it has {len(content) - start:,} of the {expected:,} bytes that X-Binary-Size promises"
    # A pixel takes a byte at least; DIALS would make room for all that a damaged header speaks of.
    pixels = _count_pixels(head)
    if pixels > expected and b"x-CBF_BYTE_OFFSET" in head:
        return f"its {expected:,} bytes of data can't hold the {pixels:,} pixels of its header"
    if (digest := _read_digest(head)) is not None:
        seen = hashlib.md5(memoryview(content)[start:end], usedforsecurity=False).digest()
        return None if seen == digest else _describe_wrong_data(content[start:end])
    # Some writers put no mark at the end; padding without one is what the space of an unwritten end looks like.
    rest = content[end : end + 64 * 1024]
    if rest and not rest.strip(b"\0"):
        return f"there are only zeros after its {expected:,} bytes of data, where the section's end belongs"
    return None


def _count_pixels(head: bytes) -> int:
    return prod(
        int(size) for size in re.findall(rb"^X-Binary-Size-(?:Fastest|Second)-Dimension:[ \t]*(\d+)", head, re.M)
    )


def _read_digest(head: bytes) -> bytes | None:
    if match := _DIGEST.search(head):
        try:
            digest = base64.b64decode(match[1], validate=True)
        except NotBase64:
            return None
        return None if digest in _NO_DIGESTS else digest
    return None


def _describe_wrong_data(data: bytes) -> str:
    zeros = len(data) - len(data.rstrip(b"\0"))
    end = f"; the last {zeros:,} are zeros" if zeros > _MANY_ZEROS else ""
    return f"its {len(data):,} bytes of data aren't those of its Content-MD5{end}"


def find_header_faults(start: bytes) -> list[str]:
    """Say which lines of a miniCBF header are missing, or aren't what DIALS can use, in the order of the format."""
    header = start.partition(SECTION)[0].decode("latin-1")
    if "_array_data.header_contents" not in header or _TABLES.decode() in header:
        return []  # a full CBF has tables in its place
    lines = dict(re.findall(r"^# *([A-Za-z_]+)[ :=]*(.*?)\r?$", header, re.MULTILINE))
    faults = []
    for name, (count, positive) in _LINES.items():
        if name not in lines:
            faults.append(f"line {name} is missing from its header")
        elif not _has_numbers(lines[name], count, positive):
            faults.append(f"line {name} of its header can't be used: {lines[name][:60]!r}")
    return [*faults, *_find_size_fault(start)]


def _has_numbers(text: str, count: int, positive: bool) -> bool:
    """Tell whether a line begins with numbers, as in `172e-6 m x 172e-6 m` or `(246.8, 303.9) pixels`."""
    words = [word for word in re.split(r"[\s(),]+", text) if word not in ("", "m", "x")][:count]
    try:
        values = [float(word.rstrip("m")) for word in words]
    except ValueError:
        return False
    return len(values) == count and all(isfinite(value) and (value > 0 or not positive) for value in values)


def _find_size_fault(start: bytes) -> list[str]:
    values = {}
    for name in ("X-Binary-Size-Fastest-Dimension", "X-Binary-Size-Second-Dimension", "X-Binary-Number-of-Elements"):
        match = re.search(rb"^" + name.encode() + rb":[ \t]*(\d+)", start, re.MULTILINE)
        if match is None:
            return [f"line {name} is missing from its binary section"]
        values[name] = int(match[1])
    fast, slow, count = values.values()
    if fast * slow != count:
        return [f"its X-Binary-Number-of-Elements is {count}, but it has {fast} × {slow} pixels"]
    return []
