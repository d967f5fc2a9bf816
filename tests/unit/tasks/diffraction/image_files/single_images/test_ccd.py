import struct

import pytest

from tasks.diffraction.image_files.single_images import ccd
from tests.support.image_files import make_smv

SIZE = 512 + 2 * 60 * 50


def make_tiff(order="<", strips=1, compression=1):
    """A directory as MAR's detectors write it: 4096 bytes of header, then the pixels in strips."""
    each = 60 * 50 * 2 // strips // (1 if compression == 1 else 2)
    tags = [(256, 4, 1, 60), (257, 4, 1, 50), (258, 3, 1, 16), (259, 3, 1, compression)]
    lists = b""
    for tag, values in ((273, [4096 + each * n for n in range(strips)]), (279, [each] * strips)):
        tags.append((tag, 4, strips, values[0] if strips == 1 else 512 + len(lists)))
        lists += struct.pack(f"{order}{strips}I", *values)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    for tag, kind, count, value in tags:
        field = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        head += struct.pack(order + "HHI", tag, kind, count) + field
    return (head.ljust(512, b"\0") + lists).ljust(4096, b"\0")


def make_bruker():
    lines = {"FORMAT": "86", "VERSION": "9", "HDRBLKS": "15", "NROWS": "512", "NCOLS": "512", "NPIXELB": "1 1"}
    return "".join(f"{name:<7}:{value:<72}" for name, value in lines.items()).encode().ljust(7680)


@pytest.mark.parametrize(
    ("start", "size"),
    [
        (make_smv(), SIZE),
        (make_smv(TYPE="signed_long"), 512 + 4 * 60 * 50),
        (make_smv(TYPE=None, Data_type="unsigned short int"), SIZE),
        (make_smv(TYPE="mad"), None),
        (make_smv(SIZE1="many"), None),
        (make_smv(COMPRESSION="RAXIS"), None),
        (make_tiff(), 4096 + 6000),
        (make_tiff(">"), 4096 + 6000),
        (make_tiff(strips=5), 4096 + 6000),
        (make_tiff(">", strips=5), 4096 + 6000),
        (make_tiff(strips=5, compression=5), 4096 + 3000),
        (make_tiff()[:60], None),
        (make_bruker(), 7680 + 512 * 512),
        (make_bruker()[:200], None),
        (b"anything", None),
    ],
)
def test_header_tells_the_size(start, size):
    assert ccd.expected_size(start) == size


@pytest.mark.parametrize("start", [make_smv()[:100], b"{\nHEAD", b"{", make_tiff()[:4000], make_bruker()[:700]])
def test_header_that_is_cut_off_is_not_there(start):
    assert not ccd.has_header(start)


@pytest.mark.parametrize("start", [make_smv()[:512], make_tiff(), make_bruker(), b"anything", b"{\nHeaderID"])
def test_header_that_is_whole_or_of_another_format_is_there(start):
    assert ccd.has_header(start)


@pytest.mark.parametrize(
    ("start", "tells"),
    [
        (struct.pack("<i", 1234) + b"mar research", True),
        (b"R-AXIS4   ", True),
        (b"{\nHeaderID       = EH:000001:000000:000000;", True),
        (make_smv(TYPE="mad"), True),
        (make_smv(), False),
        (b"anything", False),
    ],
)
def test_formats_that_tell_no_length_are_known(start, tells):
    assert ccd.tells_no_length(start) is tells


def test_only_a_detector_with_a_pedestal_never_counts_zero():
    assert ccd.smv_data_that_can_not_be_zero(make_smv(), SIZE) == SIZE - SIZE // 4
    assert ccd.smv_data_that_can_not_be_zero(make_smv(IMAGE_PEDESTAL=None), SIZE) is None


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        ({}, []),
        ({"DISTANCE": None}, ["line DISTANCE is missing from its header"]),
        ({"WAVELENGTH": "0"}, ["line WAVELENGTH of its header can't be used: '0'"]),
        ({"OSC_START": "?"}, ["line OSC_START of its header can't be used: '?'"]),
        ({"DISTANCE": None, "DTREK_DATE_TIME": "now"}, []),  # Rigaku's has other lines
    ],
)
def test_line_that_is_missing_or_can_not_be_used_is_named(lines, faults):
    assert ccd.find_smv_header_faults(make_smv(**lines)) == faults
