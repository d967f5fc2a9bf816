"""Which images are checked by DIALS, and what follows for a run where one was different."""

import logging
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.diffraction.dials_checks.checks import ChecksByDials, is_checked
from tasks.diffraction.dials_checks.differences import FOLDER, Differences
from tasks.diffraction.requests import AnalysisParameters, ImageAnalysis, ImageRequest, ImageStatistics
from tasks.step import BY_HAND, Message, StepContext
from tasks.step.identity import StepIdentity, acting_for
from tasks.step.notes import Notes
from tests.support.fake_resources import FakeResources

OPTIONS = AnalysisParameters().options
RIGHT = ImageStatistics(2.1, 2.2, 2.3, 4, 5, 6, 0.1, 0.2, 700.0)
WRONG = replace(RIGHT, n_spots_total=7)
OWN_WAY = ImageAnalysis(RIGHT)
CORRECTED = ImageAnalysis(RIGHT, corrected=WRONG)


@given(st.integers(1, 3000), st.uuids(), st.integers(0, 10_000))
def test_of_any_n_consecutive_images_one_is_checked(one_in, run, first):
    assert sum(is_checked(place, one_in, str(run)) for place in range(first, first + one_in)) == 1


@given(st.integers(2, 3000), st.uuids())
def test_the_first_image_of_a_run_waits_for_no_check(one_in, run):
    assert not is_checked(0, one_in, str(run))


def test_no_image_is_checked_if_none_is_to_be():
    assert not any(is_checked(place, 0, "run") for place in range(5000))


def test_short_runs_have_their_share():
    runs = [str(uuid.UUID(int=number)) for number in range(2000)]
    checked = sum(any(is_checked(place, 1000, run) for place in range(200)) for run in runs)
    assert 300 < checked < 500  # a fifth


class Step:
    """A run of the step, image by image; `notes` are those of the run so far."""

    def __init__(self, home, one_in=1, run="run-1", notes=None):
        self.notes = notes or Notes()
        context = StepContext(
            {}, run, FakeResources(), lambda *_: None, note=self.notes.add, noted_before=self.notes.counts()
        )
        self.checks = ChecksByDials(context, one_in, Differences(home))

    def ask(self, number, file="/a.cbf"):
        return self.checks.instruct(Message({"file": file}, number=number), ImageRequest(file, OPTIONS))

    def take(self, number, analysis):
        return self.checks.accept(Message({}, number=number), analysis)


@pytest.fixture
def identity():
    with acting_for(StepIdentity("run-1", "per-image-analysis", 7, 2, "analyse_images")):
        yield


def test_images_are_told_by_how_they_were_done(tmp_path):
    step = Step(tmp_path, one_in=3)
    checked = [step.ask(number).check for number in range(6)]
    assert sum(checked) == 2
    for number in range(6):
        why = "a gain" if number % 3 == 0 else None
        assert step.take(number, replace(OWN_WAY, by_dials=why))
    assert step.notes.counts()["images"] == 6
    assert step.notes.counts()["images by DIALS: a gain"] == 2
    done = sum(checked[number] for number in range(6) if number % 3)
    assert step.notes.counts().get("images checked against DIALS", 0) == done


def test_a_difference_makes_all_that_follow_dials_s(tmp_path, identity, caplog):
    step = Step(tmp_path, one_in=4)
    requests = [step.ask(number, f"/{number}.cbf") for number in range(8)]
    first, second = (number for number in range(8) if requests[number].check)
    for number in range(first):
        assert step.take(number, OWN_WAY)
    assert step.take(first, CORRECTED)
    late = [number for number in range(first + 1, 8) if number != second]
    assert not any(step.take(number, OWN_WAY) for number in late)  # they were on their way
    assert step.take(second, OWN_WAY)  # checked, and right
    reason = f"the kernel's numbers differed from DIALS's on /{first}.cbf"
    again = [step.ask(number) for number in [*late, 8]]
    assert {(request.by_dials, request.check) for request in again} == {(reason, False)}
    for number in [*late, 8]:
        assert step.take(number, replace(OWN_WAY, by_dials=reason))
    assert step.notes.warnings() == [
        "1 of 2 checked images differed from DIALS",
        f"{first} of 9 images were done before that and may be wrong: `plaza resume run-1 --from 2` has DIALS do them",
    ]
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"/{first}.cbf: spots differ")
    assert str(WRONG) in warning
    [found] = Differences(tmp_path).open()
    assert (found.image, found.own_way, found.dials) == (f"/{first}.cbf", WRONG, RIGHT)
    assert (found.recipe, found.dcid, found.node, found.may_be_wrong) == ("per-image-analysis", 7, 2, first)


def test_an_image_that_comes_back_by_plaza_s_own_way_once_more_does_not_go_round_for_ever(tmp_path, identity):
    step = Step(tmp_path, one_in=2)
    asked = [step.ask(number).check for number in range(2)]
    assert asked == [False, True]
    assert step.take(1, CORRECTED)
    assert not step.take(0, OWN_WAY)
    assert step.take(0, OWN_WAY)


def test_an_image_that_is_tried_again_is_counted_as_it_is_done(tmp_path):
    step = Step(tmp_path, one_in=2)
    assert [step.ask(number).check for number in (1, 2)] == [False, True]
    assert not step.ask(2).check  # it couldn't be read
    assert step.take(2, OWN_WAY)
    assert "images checked against DIALS" not in step.notes.counts()


def test_a_run_that_goes_on_counts_on_and_does_not_trust_again(tmp_path, identity):
    step = Step(tmp_path, one_in=3)
    checked = [step.ask(number).check for number in range(3)].index(True)
    for number in range(3):
        step.take(number, CORRECTED if number == checked else OWN_WAY)
    later = Step(tmp_path, one_in=3, notes=step.notes)
    assert later.ask(9).by_dials == "the kernel's numbers differed from DIALS's on /a.cbf"
    assert Step(tmp_path, run="run-2").ask(1).by_dials is None


def test_images_of_earlier_processes_may_be_wrong_too(tmp_path, identity):
    notes = Step(tmp_path, one_in=0)
    for number in range(10):
        notes.take(number, replace(OWN_WAY, by_dials="a gain" if number < 4 else None))
    step = Step(tmp_path, one_in=1, notes=notes.notes)
    step.ask(20)
    step.take(20, CORRECTED)
    assert Differences(tmp_path).open()[0].may_be_wrong == 6


def test_a_step_by_hand_does_not_remember(tmp_path):
    step = Step(tmp_path, run=BY_HAND)
    step.ask(1)
    step.take(1, CORRECTED)
    assert Step(tmp_path, run=BY_HAND).ask(1).by_dials is None


def test_a_difference_that_can_not_be_kept_is_told_all_the_same(tmp_path, identity, caplog):
    (tmp_path / FOLDER).write_text("no folder")
    step = Step(tmp_path)
    step.ask(1)
    assert step.take(1, CORRECTED)
    assert "`plaza status` won't tell of it" in caplog.text
    assert step.ask(2).by_dials
    assert step.notes.warnings() == ["1 of 1 checked images differed from DIALS"]
