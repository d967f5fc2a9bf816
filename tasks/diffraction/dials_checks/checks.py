"""What DIALS does of a node's images, what is said of each image, and what follows where the two ways differ."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import Final

from tasks.diffraction.dials_checks.checked_images import CheckedImages
from tasks.diffraction.dials_checks.differences import Difference, Differences, differing_numbers
from tasks.diffraction.dials_checks.software import software_that_finds_spots
from tasks.diffraction.dials_checks.trust import DIFFERED, trust_of
from tasks.diffraction.requests import ImageAnalysis, ImageRequest, ImageStatistics
from tasks.step import BY_HAND, Message, Note, StepContext
from tasks.step.identity import StepIdentity, current_identity

IMAGES: Final = "images"
AN_IMAGE: Final = Note(IMAGES)
CHECKED: Final = "images checked against DIALS"
BLANK: Final = "checked images had no spots, which proves little"
BY_DIALS: Final = "images by DIALS: "


class ChecksByDials:
    """Has some images of a node checked by DIALS, and all by DIALS alone once one of the run's was different.

    Parameters
    ----------
    context
        The step's: where all of it is noted.
    one_in
        One image in so many (see `CheckedImages`); 0: none.
    differences
        Where it's kept that one was different.
    """

    def __init__(self, context: StepContext, one_in: int, differences: Differences) -> None:
        self._context, before = context, context.noted_before
        self._identity = current_identity() or StepIdentity(context.recipe_run, recipe="")
        self._node = self._identity.node
        done, checked = before.get(IMAGES, 0), before.get(CHECKED, 0)
        by_dials = sum(count for text, count in before.items() if text.startswith(BY_DIALS))
        self._done = done
        self._which = CheckedImages(one_in, context.recipe_run, done, checked - before.get(BLANK, 0))
        self._checked: dict[int, str] = {}  # by the messages' numbers: the images, as people say them
        self._open: set[int] = set()  # asked for, and not done: they may come again
        self._sent_back: set[int] = set()
        self._last_with_spots: Message | None = None  # unchecked, since a check has proved something
        self._trust = trust_of(context, differences)
        self._trust.join(self._node, done - by_dials - checked)
        self._tell_what_may_be_wrong()

    def instruct(self, message: Message, request: ImageRequest) -> ImageRequest:
        """Say how the image that a message asks for is to be done."""
        number = message.number
        again = number in self._open
        self._open.add(number)
        if self._trust.distrust is not None:
            return replace(request, by_dials=self._trust.distrust)
        if not self._which.ask(number, again=again):
            return request
        self._checked[number] = request.image
        return replace(request, check=True)

    def accept(self, message: Message, analysis: ImageAnalysis) -> bool:
        """Take in how an image was done, and note it; False: it has to be done again, by DIALS, too or alone.

        Alone, where it was on its way by Plaza's own way when that was found to be wrong.
        """
        number, context = message.number, self._context
        self._trust.keep_what_was_not()
        self._tell_what_may_be_wrong()
        image = self._checked.pop(number, None)
        if analysis.by_dials is not None:
            context.note(AN_IMAGE, Note(f"{BY_DIALS}{analysis.by_dials}", of=IMAGES))
            if image is not None:
                self._which.note_checked(number, proves=False)
        elif image is not None:
            self._take_check(number, image, analysis)
        elif self._has_to_be_done_again(number, analysis):
            return False
        else:
            context.note(AN_IMAGE)
            self._trust.own_way[self._node] += 1
            if analysis.statistics.n_spots_total > 0:
                self._last_with_spots = message
        self._open.discard(number)
        self._done += 1
        return True

    def refuse(self, message: Message, error: Exception) -> None:
        """Refuse a message as the context does; if it was to be checked, another is in its place."""
        self._checked.pop(message.number, None)
        self._which.note_lost(message.number)
        self._open.add(message.number)
        self._context.refuse(message, error)

    def left_to_check(self) -> Message | None:
        """Return the message of the image that is to be checked at the inbox's end, though its numbers are out, if any.

        It's the last one with spots, where the last check proved nothing and none has been made in its place.
        """
        return self._last_with_spots if self._trust.distrust is None and self._which.is_owed else None

    def take_late(self, image: str, analysis: ImageAnalysis) -> None:
        """Take in the check of an image whose numbers are out."""
        if analysis.by_dials is not None:
            return
        self._context.note(Note(CHECKED, of=IMAGES))
        if analysis.corrected is None:
            self._trust.own_way[self._node] -= 1
        else:
            self._tell(image, analysis.statistics, analysis.corrected, "but its numbers are out")

    def end(self) -> None:
        """Have it kept, at the inbox's end, that DIALS has done all that may have been wrong."""
        self._tell_what_may_be_wrong()
        self._trust.leave(self._node)
        if not self._open and not self._trust.own_way[self._node]:
            self._trust.note_done_by_dials(self._node, self._done)

    def _has_to_be_done_again(self, number: int, analysis: ImageAnalysis) -> bool:
        if self._trust.distrust is None:
            return self._which.wants(number, has_spots=analysis.statistics.n_spots_total > 0)
        if number in self._sent_back:  # it doesn't go round for ever
            return False
        self._sent_back.add(number)
        return True

    def _take_check(self, number: int, image: str, analysis: ImageAnalysis) -> None:
        dials, own_way = analysis.statistics, analysis.corrected
        proves = own_way is not None or dials.n_spots_total > 0
        self._which.note_checked(number, proves=proves)
        if proves:
            self._last_with_spots = None
        self._context.note(AN_IMAGE, Note(CHECKED, of=IMAGES))
        if not proves:
            self._context.note(Note(BLANK, of=CHECKED))
        if own_way is not None:
            self._tell(image, dials, own_way)

    def _tell(
        self, image: str, dials: ImageStatistics, own_way: ImageStatistics, and_now: str = "whose numbers are passed on"
    ) -> None:
        """Tell of an image on which Plaza's own way was wrong; the first one of a run has consequences."""
        context = self._context
        context.note(Note(DIFFERED, of=CHECKED, is_warning=True))
        numbers = ", ".join(differing_numbers(own_way, dials))
        if self._trust.distrust is not None:  # it was on its way
            context.logger.info("%s: spots differ from DIALS's, too: %s", image, numbers)
            return
        context.logger.warning("%s: spots differ from DIALS's, %s: %s", image, and_now, numbers)
        self._trust.lose(image, lambda may_be_wrong: self._difference(image, dials, own_way, may_be_wrong))
        self._tell_what_may_be_wrong()

    def _tell_what_may_be_wrong(self) -> None:
        """Note how many images were done before a difference was found: here or by another node of the run."""
        for node, count in self._trust.untold(self._node).items():
            again = f"`plaza resume {self._context.recipe_run} --from {node}` has DIALS do them"
            if self._context.recipe_run == BY_HAND or node is None:
                again = "with PLAZA_SPOTS_CHECKED_ONE_IN=1 DIALS does all"
            what = "images" if node == self._node else f"images of node {node}"
            text = f"{what} were done before that and may be wrong: {again}"
            if text not in self._context.noted_before:
                self._context.note(Note(text, count, of=IMAGES if node == self._node else None, is_warning=True))
                self._trust.note_may_be_wrong(node, count)

    def _difference(
        self, image: str, dials: ImageStatistics, own_way: ImageStatistics, may_be_wrong: dict[int, int]
    ) -> Difference:
        return Difference(
            recipe_run=self._context.recipe_run,
            recipe=self._identity.recipe,
            dcid=self._identity.dcid,
            node=self._node,
            image=image,
            own_way=own_way,
            dials=dials,
            may_be_wrong=may_be_wrong,
            software=software_that_finds_spots(),
            host=socket.gethostname(),
            at=time.time(),
        )
