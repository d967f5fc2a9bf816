"""Names of entry points' packages, of which others make the metadata."""

from importlib import metadata

import importlib_metadata
import pytest

from blocks.installed_packages import package_of


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"Name: Site-Rules\n", {"Site-Rules"}),
        (b"", {""}),
        (None, {""}),
        (b"no header", {""}),
        (b"Name: \xff\n", {"", "\N{REPLACEMENT CHARACTER}"}),
    ],
)
@pytest.mark.parametrize("library", [metadata, importlib_metadata])
def test_a_package_has_a_name_or_none(tmp_path, library, content, names):
    folder = tmp_path / "site_rules-1.0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text("[plaza.mimas_rules]\nsite = site_rules\n")
    if content is not None:
        (folder / "METADATA").write_bytes(content)
    (point,) = library.PathDistribution(folder).entry_points
    assert package_of(point) in names


@pytest.mark.parametrize("library", [metadata, importlib_metadata])
def test_an_entry_point_of_no_package_has_none(library):
    assert package_of(library.EntryPoint("site", "site_rules", "plaza.mimas_rules")) == ""
