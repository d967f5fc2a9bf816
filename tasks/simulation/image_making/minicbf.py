"""Write an image as a Pilatus miniCBF: a text header and the counts in CBF's byte-offset compression."""

import base64
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.simulation.geometry import SENSOR_MM, Geometry

PADDING = 4095  # bytes after the image, as CBFlib writes them
START_OF_BINARY = b"\x0c\x1a\x04\xd5"  # by this, readers find where CBF's text ends
# The count cut-off is that of a Pilatus's 20-bit counters, by which dxtbx sets the trusted range.
HEADER = """###CBF: VERSION 1.5, CBFlib v0.7.8 - PILATUS detectors

data_{name}

_array_data.header_convention "PILATUS_1.2"
_array_data.header_contents
;
# Detector: PILATUS3 {detector}, S/N 99-9999
# 2024-05-01T12:00:00.000
# Pixel_size 172e-6 m x 172e-6 m
# Silicon sensor, thickness {thickness_m:.6f} m
# Exposure_time {exposure_s:.7f} s
# Exposure_period {exposure_s:.7f} s
# Count_cutoff 1048500 counts
# Wavelength {wavelength_a:.5f} A
# Detector_distance {distance_m:.5f} m
# Beam_xy ({beam_x:.2f}, {beam_y:.2f}) pixels
# Flux 0.000000
# Start_angle {start_deg:.4f} deg.
# Angle_increment {width_deg:.4f} deg.
# Polarization 0.990
;

_array_data.data
;
--CIF-BINARY-FORMAT-SECTION--
Content-Type: application/octet-stream;
     conversions="x-CBF_BYTE_OFFSET"
Content-Transfer-Encoding: BINARY
X-Binary-Size: {size}
X-Binary-Element-Type: "signed 32-bit integer"
X-Binary-Element-Byte-Order: LITTLE_ENDIAN
Content-MD5: {digest}
X-Binary-Number-of-Elements: {elements}
X-Binary-Size-Fastest-Dimension: {width}
X-Binary-Size-Second-Dimension: {height}
X-Binary-Size-Padding: {padding}

"""


def write_cbf(
    path: Path,
    image: npt.NDArray[np.int32],
    geometry: Geometry,
    *,
    start_deg: float,
    width_deg: float,
    exposure_s: float,
) -> None:
    """Write an image; nobody sees the file before it's complete.

    Parameters
    ----------
    image
        Counts, (height, width), -1 where the detector has no pixel.
    start_deg, width_deg
        The image's rotation.
    """
    from dxtbx.ext import compress
    from scitbx.array_family import flex

    body = compress(flex.int(np.ascontiguousarray(image, dtype=np.int32)))
    header = HEADER.format(
        name=path.stem,
        detector=geometry.detector.value.upper(),
        thickness_m=SENSOR_MM / 1000,
        exposure_s=exposure_s,
        wavelength_a=geometry.wavelength_a,
        distance_m=geometry.distance_mm / 1000,
        beam_x=geometry.beam_x_px,
        beam_y=geometry.beam_y_px,
        start_deg=start_deg,
        width_deg=width_deg,
        size=len(body),
        digest=base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
        elements=image.size,
        width=image.shape[1],
        height=image.shape[0],
        padding=PADDING,
    )
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(header.replace("\n", "\r\n").encode())  # CBF's lines end so
        file.write(START_OF_BINARY + body + bytes(PADDING))
        file.write(b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n\r\n")
    unfinished.replace(path)
