"""Which images are checked by DIALS, and what follows for a run where one was different."""

import logging
from dataclasses import replace

from tasks.diffraction.dials_checks import trust
from tasks.diffraction.dials_checks.checks import ChecksByDials
from tasks.diffraction.dials_checks.differences import FOLDER, Differences
from tasks.diffraction.requests import AnalysisParameters, ImageAnalysis, ImageRequest, ImageStatistics
from tasks.step import BY_HAND, Message, Note, StepContext
from tasks.step.identity import StepIdentity, acting_for
from tasks.step.notes import Notes
from tests.support.fake_resources import FakeResources

OPTIONS = AnalysisParameters().options
RIGHT = ImageStatistics(2.1, 2.2, 2.3, 4, 5, 6, 0.1, 0.2, 700.0)
WRONG = replace(RIGHT, n_spots_total=7)
EMPTY = replace(RIGHT, n_spots_total=0)
OWN_WAY = ImageAnalysis(RIGHT)
CORRECTED = ImageAnalysis(RIGHT, corrected=WRONG)


class Step:
    """A node of a run, image by image; `notes` are its of the run so far, `warned` all that the run has warned of.

    Nodes with the same resources are of one process.
    """

    def __init__(self, home, one_in=1, run="run-1", notes=None, node=2, resources=None, warned=()):
        self.notes, self.refused = notes or Notes(), []
        self.resources = resources or FakeResources()
        context = StepContext(
            *({}, run, self.resources, lambda message, _: self.refused.append(message.number)),
            note=self.notes.add,
            noted_before=self.notes.counts(),
            warned_before=frozenset([*warned, *(note.text for note in self.notes if note.is_warning)]),
        )
        with acting_for(StepIdentity(run, "per-image-analysis", 7, node, "analyse_images")):
            self.checks = ChecksByDials(context, one_in, Differences(home))

    def ask(self, number, file="/a.cbf"):
        return self.checks.instruct(Message({"file": file}, number=number), ImageRequest(file, OPTIONS))

    def take(self, number, analysis):
        return self.checks.accept(Message({}, number=number), analysis)

    def refuse(self, number):
        self.checks.refuse(Message({}, number=number), ValueError("it isn't there yet"))

    def do(self, number, own_way=RIGHT, dials=RIGHT):
        """Do an image, as Plaza's own way sees it, to its end; say whether DIALS had a part in it."""
        while True:
            request = self.ask(number, f"/{number}.cbf")
            if request.by_dials is not None:
                analysis = ImageAnalysis(dials, by_dials=request.by_dials)
            elif request.check and own_way != dials:
                analysis = ImageAnalysis(dials, corrected=own_way)
            else:
                analysis = ImageAnalysis(own_way)
            if self.take(number, analysis):
                return request.by_dials is not None or request.check


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


def test_a_difference_makes_all_that_follow_dials_s(tmp_path, caplog):
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
    assert warning.endswith(": n_spots_total 7 (DIALS: 6)")
    [found] = Differences(tmp_path).open()
    assert (found.image, found.own_way, found.dials) == (f"/{first}.cbf", WRONG, RIGHT)
    assert (found.recipe, found.dcid, found.node, found.may_be_wrong) == ("per-image-analysis", 7, 2, {2: first})


def test_an_image_that_comes_back_by_plaza_s_own_way_once_more_does_not_go_round_for_ever(tmp_path):
    step = Step(tmp_path, one_in=2)
    asked = [step.ask(number).check for number in range(2)]
    assert asked == [False, True]
    assert step.take(1, CORRECTED)
    assert not step.take(0, OWN_WAY)
    assert step.take(0, OWN_WAY)


def test_an_image_that_is_tried_again_is_counted_as_it_is_done(tmp_path):
    step = Step(tmp_path, one_in=2)
    assert [step.ask(number).check for number in (1, 2)] == [False, True]
    step.refuse(2)  # it can't be read yet
    assert step.refused == [2]
    assert not step.ask(2).check
    assert not step.take(1, OWN_WAY)  # checked in its place
    assert step.ask(1).check
    assert step.take(1, OWN_WAY)
    assert step.take(2, OWN_WAY)
    assert step.notes.lines() == ["2 images", "1 of 2 images checked against DIALS"]


def test_blank_checks_say_so_and_the_next_image_with_spots_is_checked(tmp_path):
    step = Step(tmp_path, one_in=2)
    assert [step.ask(number).check for number in range(4)] == [False, True, False, True]
    assert step.take(1, ImageAnalysis(EMPTY))
    assert step.take(3, ImageAnalysis(EMPTY))
    assert not step.take(0, OWN_WAY)
    assert step.ask(0).check
    assert step.take(0, CORRECTED)
    assert "2 of 3 checked images had no spots, which proves little" in step.notes.lines()
    assert step.notes.warnings() == ["1 of 3 checked images differed from DIALS"]


def test_where_only_blank_images_follow_one_that_came_before_is_checked_at_the_end(tmp_path):
    step = Step(tmp_path, one_in=8)
    assert step.checks.left_to_check() is None
    first = next(number for number in range(8) if step.do(number, *(() if number < 2 else (EMPTY, EMPTY))))
    assert first >= 2
    assert step.checks.left_to_check().number == 1
    step.checks.take_late("/1.cbf", CORRECTED)
    step.checks.end()
    assert step.notes.warnings() == [
        "1 of 2 checked images differed from DIALS",
        f"{first} of {first + 1} images were done before that and may be wrong: "
        "`plaza resume run-1 --from 2` has DIALS do them",
    ]
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {2: first}
    assert step.checks.left_to_check() is None


def test_a_check_at_the_end_that_is_right_counts(tmp_path):
    step = Step(tmp_path, one_in=8)
    next(number for number in range(8) if step.do(number, *(() if number < 2 else (EMPTY, EMPTY))))
    step.checks.take_late("/1.cbf", OWN_WAY)
    assert step.notes.counts()["images checked against DIALS"] == 2
    assert step.notes.warnings() == []


def test_all_nodes_of_a_run_go_on_by_dials(tmp_path):
    one = Step(tmp_path, one_in=0)
    other, ended = (Step(tmp_path, one_in=0, node=node, resources=one.resources) for node in (3, 4))
    one_later = Step(tmp_path, one_in=1, resources=one.resources)
    for number in range(5):
        assert not other.do(number, WRONG)
        assert not ended.do(number, WRONG)
    ended.checks.end()
    assert not other.ask(7).check
    assert one_later.do(0, WRONG)
    assert not other.take(7, ImageAnalysis(WRONG))  # it was on its way
    assert other.ask(7).by_dials == "the kernel's numbers differed from DIALS's on /0.cbf"
    assert other.take(7, ImageAnalysis(RIGHT, by_dials="so"))
    assert other.notes.warnings() == [
        "5 of 6 images were done before that and may be wrong: `plaza resume run-1 --from 3` has DIALS do them"
    ]
    assert one_later.notes.warnings()[1:] == [
        "5 images of node 4 were done before that and may be wrong: `plaza resume run-1 --from 4` has DIALS do them"
    ]
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {3: 5, 4: 5}
    assert Step(tmp_path, run="run-2", resources=one.resources).ask(1).by_dials is None


def test_a_node_that_another_process_had_is_told_of_once(tmp_path):
    first = Step(tmp_path, one_in=0, node=3)
    for number in range(5):
        first.do(number)
    Step(tmp_path).do(0, WRONG)
    for _ in range(2):
        Step(tmp_path, node=3, notes=first.notes)
    [line] = first.notes.warnings()
    assert line.startswith("5 of 5 images were done before that")
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {3: 5}


def test_what_dials_has_done_again_is_wrong_no_more(tmp_path):
    before = Step(tmp_path, one_in=0)
    for number in range(3):
        before.do(number, WRONG)
    step = Step(tmp_path, notes=before.notes)
    step.do(3, WRONG)
    step.checks.end()
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {2: 3}
    fewer = Step(tmp_path)  # what it had noted is forgotten; but not all of its files are there any more
    fewer.do(10, WRONG)
    fewer.checks.end()
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {2: 3}
    repeated = Step(tmp_path)
    for number in range(10, 14):
        assert repeated.do(number, WRONG)
    repeated.ask(14)
    repeated.refuse(14)
    repeated.checks.end()
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {2: 3}  # one of them can't be done
    Step(tmp_path, notes=repeated.notes).checks.end()
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {}


def test_images_that_dials_has_checked_are_not_wrong(tmp_path):
    before = Step(tmp_path, one_in=2)
    for number in range(100):
        before.do(number)
    step = Step(tmp_path, one_in=1, notes=before.notes)
    step.do(100, WRONG)
    assert Differences(tmp_path).of_run("run-1").may_be_wrong == {2: 50}


def test_the_run_s_record_is_enough_not_to_trust_again(tmp_path):
    (tmp_path / FOLDER).write_text("no folder")
    step = Step(tmp_path)
    step.do(1, WRONG)
    (tmp_path / FOLDER).unlink()
    warned = [note.text for note in step.notes if note.is_warning]
    assert Step(tmp_path, warned=warned).ask(2).by_dials == "numbers of this run differed from DIALS's before"


def test_what_could_not_be_kept_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "KEPT_AGAIN_AFTER_S", 0.0)
    (tmp_path / FOLDER).write_text("no folder")
    step = Step(tmp_path)
    step.do(1, WRONG)
    (tmp_path / FOLDER).unlink()
    step.do(2)
    assert Differences(tmp_path).of_run("run-1").image == "/1.cbf"


def test_a_run_that_goes_on_counts_on_and_does_not_trust_again(tmp_path):
    step = Step(tmp_path, one_in=3)
    checked = [step.ask(number).check for number in range(3)].index(True)
    for number in range(3):
        step.take(number, CORRECTED if number == checked else OWN_WAY)
    later = Step(tmp_path, one_in=3, notes=step.notes)
    assert later.ask(9).by_dials == "the kernel's numbers differed from DIALS's on /a.cbf"
    assert Step(tmp_path, run="run-2").ask(1).by_dials is None


def test_images_of_earlier_processes_may_be_wrong_too(tmp_path):
    notes = Step(tmp_path, one_in=0)
    for number in range(10):
        notes.take(number, replace(OWN_WAY, by_dials="a gain" if number < 4 else None))
    step = Step(tmp_path, one_in=1, notes=notes.notes)
    step.ask(20)
    step.take(20, CORRECTED)
    assert Differences(tmp_path).open()[0].may_be_wrong == {2: 6}


def test_a_step_by_hand_tells_and_does_not_remember(tmp_path):
    resources = FakeResources()
    Step(tmp_path, one_in=0, run=BY_HAND, node=None, resources=resources).do(1)
    step = Step(tmp_path, run=BY_HAND, node=None, resources=resources, notes=Notes([Note("images", 4)]))
    step.do(2, WRONG)
    assert step.notes.warnings() == [
        "1 of 1 checked images differed from DIALS",
        "4 of 5 images were done before that and may be wrong: with PLAZA_SPOTS_CHECKED_ONE_IN=1 DIALS does all",
    ]
    assert Step(tmp_path, run=BY_HAND, node=None, resources=resources).ask(1).by_dials is None
    assert list(Differences(tmp_path).all()) == []


def test_a_difference_that_can_not_be_kept_is_told_all_the_same(tmp_path, caplog):
    (tmp_path / FOLDER).write_text("no folder")
    step = Step(tmp_path)
    step.ask(1)
    assert step.take(1, CORRECTED)
    assert "`plaza status` won't tell of it" in caplog.text
    assert step.ask(2).by_dials
    assert step.notes.warnings() == ["1 of 1 checked images differed from DIALS"]
