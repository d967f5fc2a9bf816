"""Names of entry points' packages, of which others make the metadata."""

from importlib.metadata import EntryPoint, PathDistribution

import pytest

from blocks.installed_packages import package_of

POINT = EntryPoint("site", "site_rules", "plaza.mimas_rules")


@pytest.mark.parametrize(
    ("content", "name"), [(b"Name: Site-Rules\n", "Site-Rules"), (b"", ""), (None, ""), (b"no header", "")]
)
def test_a_package_has_a_name_or_none(tmp_path, content, name):
    folder = tmp_path / "site_rules-1.0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text("[plaza.mimas_rules]\nsite = site_rules\n")
    if content is not None:
        (folder / "METADATA").write_bytes(content)
    (point,) = PathDistribution(folder).entry_points
    assert package_of(point) == name


@pytest.mark.parametrize(
    "error", [FileNotFoundError("no metadata"), KeyError("Name"), UnicodeDecodeError("x", b"", 0, 0, "")]
)
def test_metadata_that_cannot_be_read_names_no_package(error):
    class Unreadable(PathDistribution):  # as importlib_metadata's
        def __init__(self):
            pass

        @property
        def name(self):
            raise error

    assert package_of(POINT._for(Unreadable())) == ""


def test_an_entry_point_of_no_package_has_none():
    assert package_of(POINT) == ""
