"""Images whose spots differed from DIALS's are kept until somebody has seen it, or the software is another."""

import math
import os
from dataclasses import replace

import pytest

from tasks.diffraction.dials_checks import differences as module
from tasks.diffraction.dials_checks.differences import FOLDER, MOST_KEPT, Difference, Differences, UnknownDifference
from tasks.diffraction.dials_checks.software import software_that_finds_spots
from tasks.diffraction.requests import ImageStatistics

DIALS = ImageStatistics(2.1, 2.2, 2.3, 4, 5, 6, 0.1, 0.2, 700.0)
OWN_WAY = replace(DIALS, n_spots_total=7, total_intensity=701.0)


def difference(run="run-1", **changes):
    found = Difference(
        *(run, "per-image-analysis", 7, 2, "/a.cbf", OWN_WAY, DIALS, {2: 12, 3: 4}),
        software_that_finds_spots(),
        "node07",
        1.7e9,
    )
    return replace(found, **changes)


@pytest.fixture
def kept(tmp_path):
    return Differences(tmp_path)


def test_it_comes_back_as_it_was(kept):
    kept.keep(difference())
    assert kept.of_run("run-1") == difference()
    assert kept.open() == (difference(),)
    assert kept.of_run("run-2") is None


def test_it_says_what_differs():
    assert difference().what_differs == "n_spots_total 7 (DIALS: 6), total_intensity 701.0 (DIALS: 700.0)"
    more = difference(own_way=replace(OWN_WAY, n_spots_4A=1, n_spots_no_ice=2))
    assert more.what_differs == "n_spots_4A 1 (DIALS: 4), n_spots_no_ice 2 (DIALS: 5), and 2 more"


@pytest.mark.parametrize("image", ["/half a \udcff character.cbf", "/\x1b[31m.cbf", "/" + "d" * 4095])
def test_any_name_of_an_image_is_kept(kept, image):
    kept.keep(difference(image=image))
    assert kept.of_run("run-1").image == image


def test_what_is_no_number_is_kept_and_is_like_itself(kept):
    nan = math.nan
    kept.keep(difference(own_way=replace(OWN_WAY, estimated_d_min=nan), dials=replace(DIALS, estimated_d_min=nan)))
    assert "estimated_d_min" not in kept.of_run("run-1").what_differs


def test_the_first_of_a_run_stays(kept):
    kept.keep(difference(image="/first.cbf"))
    kept.keep(difference(image="/second.cbf"))
    assert [found.image for found in kept.all()] == ["/first.cbf"]


def test_how_many_may_be_wrong_is_kept_with_who_has_taken_note(kept):
    kept.keep(difference())
    kept.acknowledge("run-1")
    kept.keep(difference(image="/second.cbf", may_be_wrong={3: 4}))
    found = kept.of_run("run-1")
    assert (found.image, found.may_be_wrong) == ("/a.cbf", {3: 4})
    assert found.acknowledged


def test_that_of_other_software_is_no_problem_and_gives_way(kept):
    kept.keep(difference(image="/old.cbf", software="DIALS 3.1"))
    assert kept.open() == ()
    kept.keep(difference(image="/new.cbf"))
    assert [found.image for found in kept.open()] == ["/new.cbf"]


def test_who_has_taken_note_is_kept_once(kept):
    kept.keep(difference("0b1c-2d"))
    kept.keep(difference("1b1c-2d"))
    [noted] = kept.acknowledge("0b1c")
    assert noted.acknowledged.by
    assert kept.acknowledge("0b1c") == [noted]
    assert [found.recipe_run for found in kept.open()] == ["1b1c-2d"]
    assert kept.of_run("0b1c-2d").acknowledged == noted.acknowledged


@pytest.mark.parametrize("name", ["", "run-9", "*", "../x"])
def test_a_run_of_which_nothing_is_known_can_not_be_noted(kept, name):
    kept.keep(difference())
    with pytest.raises(UnknownDifference, match="`plaza status` names those runs"):
        kept.acknowledge(name)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"recipe_run": 7}', b"[" * 100_000, b"\xff", b"x" * 10**6])
def test_a_file_that_says_nothing_is_left_out_and_told(kept, tmp_path, content, caplog):
    kept.keep(difference())
    (tmp_path / FOLDER / "run-2.json").write_bytes(content)
    assert [found.recipe_run for found in kept.all()] == ["run-1"]
    assert "run-2.json says nothing" in caplog.text


def test_the_newest_are_kept(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 5)
    for number in range(8):
        kept.keep(difference(f"run-{number}"))
        os.utime(tmp_path / FOLDER / f"run-{number}.json", (number, number))
    kept.keep(difference("run-8"))
    assert [found.recipe_run for found in kept.all()] == [f"run-{number}" for number in range(4, 9)]
    assert MOST_KEPT == 100


def test_that_of_a_run_that_may_be_taken_up_again_is_kept(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    (tmp_path / "recipe-runs" / "run-0").mkdir(parents=True)
    for number in range(5):
        kept.keep(difference(f"run-{number}"))
        os.utime(tmp_path / FOLDER / f"run-{number}.json", (number, number))
    assert [found.recipe_run for found in kept.all()] == ["run-0", "run-3", "run-4"]


def test_a_home_that_has_none_has_none(kept):
    assert list(kept.all()) == []
    assert kept.open() == ()
