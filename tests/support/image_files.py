"""Small image files of single-image formats, made byte by byte."""

import base64
import hashlib

import numpy as np

MINI_HEADER = """
# Detector: PILATUS 100K, S/N 99-9999
# 2026-05-01T12:00:00.000
# Pixel_size 172e-6 m x 172e-6 m
# Silicon sensor, thickness 0.000320 m
# Exposure_time 0.1000000 s
# Exposure_period 0.1000000 s
# Count_cutoff 1048500 counts
# Wavelength 0.97950 A
# Detector_distance 0.15000 m
# Beam_xy (240.80, 90.90) pixels
# Start_angle 0.0000 deg.
# Angle_increment 0.5000 deg.
"""


def counts(fast=487, slow=195):
    """One module's background without spots, the same each time: (slow, fast)."""
    return np.random.default_rng(1).poisson(3, (slow, fast)).astype(np.int32)


def byte_offset(pixels):
    """Compress as CBF_BYTE_OFFSET does; neighbours differ by less than 128 each."""
    return np.diff(pixels.ravel(), prepend=0).astype(np.int8).tobytes()


def make_cbf(header=MINI_HEADER, pixels=None, digest=True, end=True, compress=byte_offset):
    """A miniCBF; `digest` may be text that stands in place of the right one."""
    pixels = counts() if pixels is None else pixels
    data = compress(pixels)
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode() if digest is True else digest
    slow, fast = pixels.shape
    lines = header.replace("\n", "\r\n")
    head = (
        '###CBF: VERSION 1.5\r\n\r\ndata_a\r\n\r\n_array_data.header_convention "PILATUS_1.2"\r\n'
        f"_array_data.header_contents\r\n;{lines};\r\n\r\n_array_data.data\r\n;\r\n"
        "--CIF-BINARY-FORMAT-SECTION--\r\nContent-Type: application/octet-stream;\r\n"
        '     conversions="x-CBF_BYTE_OFFSET"\r\nContent-Transfer-Encoding: BINARY\r\n'
        f"X-Binary-Size: {len(data)}\r\nX-Binary-ID: 1\r\n"
        'X-Binary-Element-Type: "signed 32-bit integer"\r\nX-Binary-Element-Byte-Order: LITTLE_ENDIAN\r\n'
        + (f"Content-MD5: {md5}\r\n" if md5 else "")
        + f"X-Binary-Number-of-Elements: {fast * slow}\r\nX-Binary-Size-Fastest-Dimension: {fast}\r\n"
        f"X-Binary-Size-Second-Dimension: {slow}\r\nX-Binary-Size-Padding: 4095\r\n\r\n"
    )
    tail = bytes(4095) + b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n\r\n" if end else b""
    return head.encode() + b"\x0c\x1a\x04\xd5" + data + tail


SMV_LINES = {
    "HEADER_BYTES": "  512",
    "DIM": "2",
    "BYTE_ORDER": "little_endian",
    "TYPE": "unsigned_short",
    "SIZE1": "60",
    "SIZE2": "50",
    "PIXEL_SIZE": "0.1024",
    "DETECTOR_SN": "999",
    "TIME": "1.00",
    "DISTANCE": "120.000",
    "OSC_RANGE": "0.500",
    "OSC_START": "2.000",
    "WAVELENGTH": "0.97950",
    "BEAM_CENTER_X": "3.0",
    "BEAM_CENTER_Y": "2.5",
    "IMAGE_PEDESTAL": "40",
}


def make_smv(pixels=None, **lines):
    """An ADSC image; a line that is None is left out."""
    head = "".join(f"{name}={value};\n" for name, value in (SMV_LINES | lines).items() if value is not None)
    pixels = counts(60, 50) + 40 if pixels is None else pixels
    return ("{\n" + head + "}\n\f").encode().ljust(512) + pixels.astype("<u2").tobytes()
