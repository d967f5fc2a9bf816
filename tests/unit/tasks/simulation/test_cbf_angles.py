"""How far a crystal turns between the images of a series of CBF files, by their headers."""

import bz2
import gzip

import pytest

from tasks.simulation.cbf_angles import check_headers, mean_step, read_header
from tasks.simulation.file_groups import UnusableImages
from tests.support.image_files import MINI_HEADER, make_cbf


@pytest.fixture
def series(tmp_path):
    """A function that writes CBF files which start at some angles and returns their paths."""

    def write(starts, width="0.5000", suffix=".cbf"):
        files = [tmp_path / f"x_{number}{suffix}" for number in range(1, len(starts) + 1)]
        for file, start in zip(files, starts, strict=True):
            header = MINI_HEADER.replace("Start_angle 0.0000", f"Start_angle {start}").replace(
                "0.5000 deg", f"{width} deg"
            )
            pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(file.suffix, bytes)
            file.write_bytes(pack(make_cbf(header)))
        return files

    return write


@pytest.mark.parametrize("suffix", [".cbf", ".cbf.gz", ".cbf.bz2"])
@pytest.mark.parametrize(
    "starts",
    [[0, 0.5, 1, 1.5], [10, 55, 100], [1, 0.5, 0], [7, 7, 7], [359.5, 0, 0.5], [3], [0, 0.5001, 0.9999]],
)
def test_headers_of_one_scan_are_taken(series, starts, suffix):
    check_headers(series(starts, suffix=suffix))


def test_full_cbf_without_the_lines_tells_nothing(tmp_path):
    files = [tmp_path / "x_1.cbf", tmp_path / "x_2.cbf"]
    for file in files:
        file.write_bytes(b"###CBF: VERSION 1.5\r\n_diffrn.id DIFFRN1\r\n")
    check_headers(files)


def test_more_than_one_scan_is_refused_with_the_first_image_that_is_off(series):
    with pytest.raises(UnusableImages, match=r"x_3\.cbf starts at -144°, expected -144\.8° by the first two, 0\.1°"):
        check_headers(series([-145.0, -144.9, -144.0, -143.6]))


def test_images_of_other_widths_or_with_other_lines_are_refused(series):
    files = series([0, 0.5, 1])
    wide = files[2].read_bytes()
    files[2].write_bytes(wide.replace(b"Angle_increment 0.5000", b"Angle_increment 0.1000"))
    with pytest.raises(UnusableImages, match=r"x_3\.cbf is 0\.1° wide, x_1\.cbf 0\.5°"):
        check_headers(files)
    files[2].write_bytes(wide.replace(b"# Start_angle", b"# Start_angel"))
    with pytest.raises(UnusableImages, match=r"x_3\.cbf has other lines"):
        check_headers(files)


def test_file_that_is_no_compressed_one_is_named(tmp_path):
    (tmp_path / "x_1.cbf.gz").write_bytes(b"xx")
    with pytest.raises(UnusableImages, match=r"x_1\.cbf\.gz can't be read"):
        read_header(tmp_path / "x_1.cbf.gz")


def test_step_is_that_of_all_images(tmp_path):
    files = [tmp_path / f"x_{number}.cbf" for number in range(1, 102)]
    assert mean_step(files, [(0, 10.0)]) is None
    assert mean_step(files, [(0, 10.0), (1, 10.1001), (100, 20.0)]) == pytest.approx(0.1)
    assert mean_step(files, [(0, 10.0), (1, 9.5), (100, -40.0)]) == pytest.approx(-0.5)
    with pytest.raises(UnusableImages, match=r"x_101\.cbf starts at 50°, expected 20°"):
        mean_step(files, [(0, 10.0), (1, 10.1), (100, 50.0)])
