"""Names by which dxtbx can open images."""

from pathlib import Path

import pytest

from tasks.diffraction.image_files.single_images import plain_names
from tasks.diffraction.image_files.single_images.plain_names import plain_name

pytestmark = pytest.mark.dials


@pytest.mark.parametrize(
    "file",
    [
        *("/d/x_0001.cbf", "/25% DMSO/{a}_1.cbf.gz", "/d/ü 1.img", "/d/x.0001", "/d/x1.cbf.bz2", "/d/a_2147483647.cbf"),
        *("/d/lyso_1.0005.cbf", "/d/run_001.001.cbf", "/d/NO2_0100.x.cbf", "/d/7.cbf"),
    ],
)
def test_most_files_are_opened_by_their_own_names(file):
    assert plain_name(file) == file


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("a#1_0001.cbf.gz", "image_0001.cbf.gz"),
        ("a#/x_1.cbf", "image_0001.cbf"),
        ("x\r_1.cbf", "image_0001.cbf"),
        ("x.cbf.gz", "image_0001.cbf.gz"),
        ("#", "image.0001"),
        ("x", "image.0001"),
        ("x_0001", "image.0001"),
        ("x:7", "image.0001"),
        ("0001.5.cbf", "image_0001.cbf"),  # 5 by the one rule of dxtbx's, 1 by the other
        ("run_01.05.cbf", "image_0001.cbf"),
        ("run_01.d/x_5.cbf", "image_0001.cbf"),
        ("x_2147483648.cbf", "image_0001.cbf"),
        ("x_20261128173658123456789.cbf", "image_0001.cbf"),
    ],
)
def test_others_are_opened_by_links(name, link, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("counts")
    plain = Path(plain_name(str(file)))
    assert plain.name == link
    assert plain.read_text() == "counts"
    assert plain_name(str(file)) == str(plain), "a link is made once"
    assert plain_name(f"{file}#") != str(plain)


def test_links_do_not_become_ever_more(monkeypatch, tmp_path):
    monkeypatch.setattr(plain_names, "MOST_NAMES", 2)
    links = [Path(plain_name(str(tmp_path / f"{number}#.cbf"))) for number in range(4)]
    assert [link.is_symlink() for link in links] == [False, False, True, True]
