import hashlib
import re
from base64 import b64encode

import pytest

from tasks.diffraction.image_files.single_images import cbf
from tests.support.image_files import MINI_HEADER, counts, make_cbf

WHOLE = make_cbf()
DATA = WHOLE.index(b"\x0c\x1a\x04\xd5") + 4
SIZE = counts().size


def with_line(name, value):
    lines = [line for line in MINI_HEADER.splitlines() if f"# {name}" not in line]
    return make_cbf("\n".join([*lines, f"# {name} {value}"] if value is not None else lines) + "\n")


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        make_cbf(digest=None),
        make_cbf(digest=None, end=False),  # some writers put no mark there
        make_cbf(digest=" " * 24),  # a writer that didn't compute it
        make_cbf(digest=b64encode(hashlib.md5(b"").digest()).decode()),
        make_cbf(digest=b64encode(bytes(16)).decode(), end=False),
        make_cbf(digest="nonsense"),
        WHOLE[: DATA + SIZE],  # all data, of which the digest tells
        WHOLE[: WHOLE.rindex(b"---")],
        WHOLE + WHOLE,  # two sections
    ],
)
def test_file_that_is_whole_lacks_nothing(content):
    assert cbf.find_missing_data(content) is None


@pytest.mark.parametrize(
    ("cut", "fault"),
    [
        (300, "it ends after 300 bytes of its header, before the binary section"),
        (DATA - 5, f"it ends after {DATA - 5:,} bytes, before the data of its binary section"),
    ],
)
def test_file_cut_off_in_its_header_says_so(cut, fault):
    assert cbf.find_missing_data(WHOLE[:cut]) == fault


def test_header_in_allocated_space_is_not_the_whole_file():
    fault = cbf.find_missing_data(WHOLE[:300].ljust(len(WHOLE), b"\0"))
    assert fault == "it ends after 300 bytes of its header, before the binary section"


@pytest.mark.parametrize("digest", [True, None])
def test_file_cut_off_in_its_data_says_how_far_it_is(digest):
    content = make_cbf(digest=digest)
    start = content.index(b"\x0c\x1a\x04\xd5") + 4
    fault = cbf.find_missing_data(content[: start + 1000])
    assert fault == f"it has 1,000 of the {SIZE:,} bytes that X-Binary-Size promises"


def test_data_that_end_in_zeros_are_not_those_of_the_digest():
    half = DATA + SIZE // 2
    written = WHOLE[:half].rstrip(b"\0")
    zeros = DATA + SIZE - len(written)
    fault = cbf.find_missing_data(written.ljust(len(WHOLE), b"\0"))
    assert fault == f"its {SIZE:,} bytes of data aren't those of its Content-MD5; the last {zeros:,} are zeros"


def test_one_wrong_byte_is_seen():
    content = bytearray(WHOLE)
    content[DATA + 100] ^= 1
    assert cbf.find_missing_data(bytes(content)) == f"its {SIZE:,} bytes of data aren't those of its Content-MD5"


def test_header_of_more_pixels_than_there_can_be_is_no_image():
    huge = WHOLE.replace(b"Second-Dimension: 195", b"Second-Dimension: 1950000000")
    fault = f"its {SIZE:,} bytes of data can't hold the 949,650,000,000 pixels of its header"
    assert cbf.find_missing_data(huge) == fault


def test_zeros_in_place_of_the_end_are_seen_without_a_digest():
    content = make_cbf(digest=None)
    fault = cbf.find_missing_data(content[: len(content) * 3 // 10].ljust(len(content), b"\0"))
    assert fault == f"there are only zeros after its {SIZE:,} bytes of data, where the section's end belongs"


def test_second_section_counts_too():
    assert "promises" in cbf.find_missing_data(WHOLE + WHOLE[:-6000])


def test_data_in_text_are_known_by_their_end():
    text = WHOLE.replace(b"Encoding: BINARY", b"Encoding: BASE64")
    assert cbf.find_missing_data(text) is None
    assert cbf.find_missing_data(text[:-50]) == "the end of its binary section is missing"


@pytest.mark.parametrize("encoding", [b"BINARY", b"BASE64"])
@pytest.mark.parametrize("digest", [True, None])
def test_full_cbf_is_whole_once_the_text_ends_that_its_section_is_in(digest, encoding):
    full = make_cbf(digest=digest).replace(
        b"_array_data.header_c", b"_diffrn.id DIFFRN1\r\n\r\n_array_data.header_c", 1
    )
    full = full.replace(b"Encoding: BINARY", b"Encoding: " + encoding)
    end = full.rindex(b"\r\n;") + len(b"\r\n;")
    for whole in (full, full[:end], full[:end] + bytes(900), full.replace(b"----\r\n;", b"---- \n;")):
        assert cbf.find_missing_data(whole) is None
    for cut in range(end - 40, end):
        assert re.search("end .*(is missing|belongs)", cbf.find_missing_data(full[:cut]))
    two = full[:-10] + full[full.index(b"--CIF") :]
    assert cbf.find_missing_data(two) is None
    assert "is missing" in cbf.find_missing_data(two[:-10])


def test_header_that_is_right_has_no_fault():
    assert cbf.find_header_faults(WHOLE) == []


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("Detector_distance", None, "line Detector_distance is missing from its header"),
        ("Detector_distance", "", "line Detector_distance of its header can't be used: ''"),
        ("Detector_distance", "nan m", "line Detector_distance of its header can't be used: 'nan m'"),
        ("Wavelength", "0 A", "line Wavelength of its header can't be used: '0 A'"),
        ("Wavelength", "unknown", "line Wavelength of its header can't be used: 'unknown'"),
        ("Beam_xy", "(246.80) pixels", "line Beam_xy of its header can't be used: '(246.80) pixels'"),
        ("Pixel_size", "172e-6 m x ? m", "line Pixel_size of its header can't be used: '172e-6 m x ? m'"),
        ("Angle_increment", None, "line Angle_increment is missing from its header"),
    ],
)
def test_line_that_is_missing_or_can_not_be_used_is_named(name, value, fault):
    assert cbf.find_header_faults(with_line(name, value)) == [fault]


@pytest.mark.parametrize(("name", "value"), [("Wavelength", "= 9.79e-1 A"), ("Beam_xy", "(-3, 1.5) pixels")])
def test_other_ways_to_write_a_line_are_no_fault(name, value):
    assert cbf.find_header_faults(with_line(name, value)) == []


def test_size_that_contradicts_itself_is_a_fault():
    content = WHOLE.replace(b"Second-Dimension: 195", b"Second-Dimension: 196")
    assert cbf.find_header_faults(content) == ["its X-Binary-Number-of-Elements is 94965, but it has 487 × 196 pixels"]
