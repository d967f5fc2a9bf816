"""What is written stays where its path says, though others own folders on its way."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.confinement import LeadsAway, is_plain_name, link_confined, visit_folders, write_confined


@pytest.fixture
def visit(tmp_path):
    folder = tmp_path / "i03" / "cm1-1"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    return folder


def test_file_is_written_whole_and_its_folders_are_made(visit):
    path = visit / "processed" / "a" / "x.json"
    write_confined(path, b"old")
    write_confined(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_visit_that_is_a_link_is_written_to(visit, tmp_path):
    link = tmp_path / "cm1-2"
    link.symlink_to(visit)
    write_confined(link / "processed" / "x.json", b"x")
    assert (visit / "processed" / "x.json").exists()


def test_link_within_the_visit_may_lead_within_it(visit):
    (visit / "scratch").mkdir()
    (visit / "processed").symlink_to("scratch")
    write_confined(visit / "processed" / "x.json", b"x")
    assert (visit / "scratch" / "x.json").exists()


@pytest.mark.parametrize("planted", ["processed", "processed/lys", "processed/lys/run"])
def test_link_out_of_the_visit_is_not_followed(visit, elsewhere, planted):
    (visit / planted).parent.mkdir(parents=True, exist_ok=True)
    (visit / planted).symlink_to(elsewhere)
    with pytest.raises(LeadsAway, match=r"leads to .*keys.*out of .*cm1-1"):
        write_confined(visit / "processed" / "lys" / "run" / "x.json", b"x")
    with pytest.raises(LeadsAway):
        link_confined(visit / "processed" / "lys" / "run" / "link", "x")
    assert list(elsewhere.iterdir()) == []


def test_sites_may_have_links_to_folders_of_theirs(visit, elsewhere):
    (visit / "processed").symlink_to(elsewhere)
    write_confined(visit / "processed" / "a" / "x.json", b"x", also=[elsewhere])
    assert (elsewhere / "a" / "x.json").exists()
    with pytest.raises(LeadsAway):
        write_confined(visit / "processed" / "x.json", b"x", also=[elsewhere / "a"])


def test_neighbour_of_the_same_beginning_is_another_folder(visit):
    (visit.parent / "cm1-10").mkdir()
    (visit / "processed").symlink_to("../cm1-10")
    with pytest.raises(LeadsAway):
        write_confined(visit / "processed" / "x.json", b"x")


def test_link_in_the_place_of_the_file_is_replaced(visit, elsewhere):
    (elsewhere / "id").write_text("key")
    (visit / "x.json").symlink_to(elsewhere / "id")
    write_confined(visit / "x.json", b"x")
    assert not (visit / "x.json").is_symlink()
    assert (elsewhere / "id").read_text() == "key"


def test_what_is_no_file_is_not_replaced(visit):
    os.mkfifo(visit / "x.json")
    with pytest.raises(LeadsAway, match="something else than a file"):
        write_confined(visit / "x.json", b"x")
    assert (visit / "x.json").is_fifo()


@pytest.mark.parametrize("path", ["x.json", "a/x.json", "/tmp/../etc/x.json", "/dls/i03/cm1-1/../../x.json", ""])
def test_paths_that_climb_or_begin_nowhere_are_refused(path):
    with pytest.raises(LeadsAway):
        write_confined(Path(path), b"")


def test_folder_that_is_swapped_for_a_link_meanwhile_gets_nothing(visit, elsewhere, monkeypatch):
    make = Path.mkdir

    def swap(path, *arguments, **options):
        make(path, *arguments, **options)
        path.rmdir()
        path.symlink_to(elsewhere)

    monkeypatch.setattr(Path, "mkdir", swap)
    with pytest.raises(LeadsAway):
        write_confined(visit / "processed" / "x.json", b"x")
    assert list(elsewhere.iterdir()) == []


def test_path_without_a_visit_goes_where_the_recipe_says(tmp_path, elsewhere):
    (tmp_path / "drop").symlink_to(elsewhere)
    write_confined(tmp_path / "drop" / "x.xml", b"x")
    assert (elsewhere / "x.xml").exists()


@given(st.text(alphabet="./a1-\0c", max_size=12))
def test_plain_name_adds_one_component_to_a_path(text):
    if is_plain_name(text):
        assert Path("/dls/cm1-1", text).parts == ("/", "dls", "cm1-1", text)


@pytest.mark.parametrize(
    ("path", "visits"),
    [
        ("/dls/i03/data/2026/cm1-1/x/y.json", ["/dls/i03/data/2026/cm1-1"]),
        ("/data/mx12345-67/cm1-1/y.json", ["/data/mx12345-67", "/data/mx12345-67/cm1-1"]),
        ("/data/cm1-1", []),  # a file of that name
        ("/data/CM1-1/y.json", []),
        ("/data/cm١-1/y.json", []),
        ("/home/plaza/mail/x.eml", []),
    ],
)
def test_any_folder_that_is_called_like_a_visit_may_be_the_visit(path, visits):
    assert visit_folders(Path(path)) == list(map(Path, visits))


def test_of_several_folders_called_like_visits_none_is_left(tmp_path, elsewhere):
    visit = tmp_path / "ab1-1" / "i03" / "cm3-1"
    visit.mkdir(parents=True)
    write_confined(visit / "x", b"x")
    (visit / "up").symlink_to(tmp_path / "ab1-1" / "i03")
    (visit / "mx2-2").symlink_to(elsewhere)
    for planted in ("up", "mx2-2"):
        with pytest.raises(LeadsAway, match="it leads to"):
            write_confined(visit / planted / "y", b"y")
    assert not list(elsewhere.iterdir())


def test_names_may_be_as_long_as_the_file_system_takes(visit):
    path = visit / ("n" * 255)
    write_confined(path, b"x")
    assert path.read_bytes() == b"x"
    link = visit / ("l" * 255)
    link.symlink_to("old")
    assert link_confined(link, path.name, overwrite=True)
    assert link.read_bytes() == b"x"
    assert sorted(visit.iterdir()) == [link, path]
