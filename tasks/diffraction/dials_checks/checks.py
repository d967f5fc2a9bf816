"""Which images of a run DIALS does too, what is said of each image, and what follows where the two differ."""

from __future__ import annotations

import socket
import time
import zlib
from dataclasses import replace
from typing import Final

from tasks.diffraction.dials_checks.differences import Difference, Differences
from tasks.diffraction.dials_checks.software import software_that_finds_spots
from tasks.diffraction.requests import ImageAnalysis, ImageRequest, ImageStatistics
from tasks.step import BY_HAND, Message, Note, StepContext
from tasks.step.identity import StepIdentity, current_identity

IMAGES: Final = "images"
AN_IMAGE: Final = Note(IMAGES)
CHECKED: Final = "images checked against DIALS"
BY_DIALS: Final = "images by DIALS: "


class ChecksByDials:
    """Has one image in some of a run's checked by DIALS, and all by DIALS alone once one of them was different.

    Parameters
    ----------
    context
        The step's: where all of it is noted.
    one_in
        One image in so many; 0: none.
    differences
        Where it's kept that one was different.
    """

    def __init__(self, context: StepContext, one_in: int, differences: Differences) -> None:
        self._context, self._one_in, self._differences = context, one_in, differences
        before = context.noted_before
        self._place = before.get(IMAGES, 0)
        self._own_way = self._place - sum(count for text, count in before.items() if text.startswith(BY_DIALS))
        self._checked: dict[int, str] = {}  # by the messages' numbers: the images, as people say them
        self._sent_back: set[int] = set()
        self._by_dials: str | None = None
        found = None if context.recipe_run == BY_HAND else differences.of_run(context.recipe_run)
        if found is not None and found.is_of_this_software:
            self._distrust(found.image)

    def instruct(self, message: Message, request: ImageRequest) -> ImageRequest:
        """Say how the image that a message asks for is to be done."""
        place, self._place = self._place, self._place + 1
        self._checked.pop(message.number, None)  # it may come again
        if self._by_dials is not None:
            return replace(request, by_dials=self._by_dials)
        if is_checked(place, self._one_in, self._context.recipe_run):
            self._checked[message.number] = request.image
            return replace(request, check=True)
        return request

    def accept(self, message: Message, analysis: ImageAnalysis) -> bool:
        """Take in how an image was done, and note it; False: it has to be done again, by DIALS.

        So is what was on its way by Plaza's own way when that was found to be wrong.
        """
        checked = self._checked.pop(message.number, None)
        if analysis.by_dials is not None:
            self._context.note(AN_IMAGE, Note(f"{BY_DIALS}{analysis.by_dials}", of=IMAGES))
        elif checked is not None:
            self._context.note(AN_IMAGE, Note(CHECKED, of=IMAGES))
            if analysis.corrected is not None:
                self._tell(checked, analysis.statistics, analysis.corrected)
        elif self._by_dials is not None and message.number not in self._sent_back:
            self._sent_back.add(message.number)
            return False
        else:
            self._context.note(AN_IMAGE)
            self._own_way += 1
        return True

    def _tell(self, image: str, dials: ImageStatistics, own_way: ImageStatistics) -> None:
        """Tell of an image on which Plaza's own way was wrong; the first one of a run has consequences."""
        context = self._context
        context.logger.warning(
            "%s: spots differ from DIALS's, whose numbers are passed on. Plaza's own: %s; DIALS's: %s",
            *(image, own_way, dials),
        )
        context.note(Note("checked images differed from DIALS", of=CHECKED, is_warning=True))
        if self._by_dials is not None:
            return
        self._distrust(image)
        difference = self._difference(image, dials, own_way)
        if self._own_way:
            again = f"`plaza resume {context.recipe_run} --from {difference.node}` has DIALS do them"
            text = f"images were done before that and may be wrong: {again}"
            context.note(Note(text, self._own_way, of=IMAGES, is_warning=True))
        try:
            self._differences.keep(difference)
        except OSError as error:  # the run goes on, and says it itself
            context.logger.error("`plaza status` won't tell of it, since that can't be kept: %s", error)

    def _difference(self, image: str, dials: ImageStatistics, own_way: ImageStatistics) -> Difference:
        identity = current_identity() or StepIdentity(self._context.recipe_run, recipe="")
        return Difference(
            recipe_run=self._context.recipe_run,
            recipe=identity.recipe,
            dcid=identity.dcid,
            node=identity.node,
            image=image,
            own_way=own_way,
            dials=dials,
            may_be_wrong=self._own_way,
            software=software_that_finds_spots(),
            host=socket.gethostname(),
            at=time.time(),
        )

    def _distrust(self, image: str) -> None:
        self._by_dials = f"the kernel's numbers differed from DIALS's on {image}"


def is_checked(place: int, one_in: int, recipe_run: str) -> bool:
    """Decide whether an image is checked: just one of any `one_in` that follow one another is.

    Which one it is differs from run to run, so that short runs have their share. It's never a run's first image, for
    which people wait, unless all are checked.

    Parameters
    ----------
    place
        Of the image in its run, from 0.
    one_in
        0: none is.

    >>> [place for place in range(20) if is_checked(place, 5, "0b1c2d3e")]
    [3, 8, 13, 18]
    """
    if one_in <= 1:
        return one_in == 1
    return place % one_in == 1 + zlib.crc32(recipe_run.encode()) % (one_in - 1)
