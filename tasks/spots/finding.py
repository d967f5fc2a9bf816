"""Find spots in images, in several processes, and say what they say of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from blocks.errors import PlazaError
from tasks.diffraction.answers import SpotPicture, StoredImages
from tasks.diffraction.requests import (
    ContentRequest,
    DiffractionRequest,
    Failure,
    ImageAnalysis,
    ImageRequest,
    SpotFindingOptions,
    SpotPictureRequest,
    Success,
    holds_several_images,
)
from tasks.spots.images import Image, ImageList, NamedFile, NoSuchImages, read_name, without_repeats
from tasks.spots.processes import ImageProcesses, usable_cores


@dataclass(frozen=True, slots=True)
class FoundSpots:
    """What was found on an image; or why it can't be said.

    Parameters
    ----------
    seconds
        That it took in its process, once DIALS was imported there; None if it failed.
    """

    image: Image
    analysis: ImageAnalysis | None
    reason: str | None = None
    seconds: float | None = None

    def as_payload(self) -> dict[str, Any]:
        """Return `file`, `file-number` and the nine statistics by Zocalo's names; `error` if there are none."""
        names = {"file": self.image.file, "file-number": self.image.number}
        if self.analysis is None:
            return names | {"error": self.reason}
        return names | self.analysis.statistics.as_payload()


class SpotFinder:
    """Finds spots, all with the same options. Its processes begin and end with the block.

    >>> with SpotFinder(["/data/x_master.h5:1-100"], SpotFindingOptions(d_min=2.0)) as finder:  # doctest: +SKIP
    ...     for found in finder.find(finder.list_images().images):
    ...         print(found.as_payload())

    Parameters
    ----------
    names
        Files, FILE:N, FILE:N-M, folders.
    processes
        None: one for each core, or for each image if there are fewer.
    """

    def __init__(
        self, names: Sequence[str], options: SpotFindingOptions | None = None, processes: int | None = None
    ) -> None:
        self._options = options or SpotFindingOptions()
        self._list = ImageList()
        self._files, again = without_repeats(self._read(names))
        if again:
            self._list.notes.append(describe_repeats(again))
        count = min(processes or usable_cores(), self._most_images())
        self._processes = ImageProcesses(count)

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return self._processes.count

    @property
    def work_began(self) -> float | None:
        """When the first of the images was begun with (`time.perf_counter`), DIALS imported; None: none was."""
        return self._processes.work_began

    def __enter__(self) -> Self:
        if self._files:
            self._processes.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._processes.__exit__(kind, error, traceback)

    def list_images(self) -> ImageList:
        """Return the images that are meant; a file that can't be one's isn't in the way of others."""
        stored = self._read_contents()
        parts = Counter(os.path.realpath(part) for content in stored.values() for part in _parts(content))
        images = self._list.images
        seen: set[tuple[str, int]] = set()
        single = 0
        for named in self._files:
            if named.file not in stored:
                single += 1
                images.append(Image(named.file, single))
            elif not (named.is_found and os.path.realpath(named.file) in parts):
                real = os.path.realpath(named.file)  # one file may be named in several ways
                for number in self._choose(named, stored[named.file]):
                    if (real, number) not in seen:
                        seen.add((real, number))
                        images.append(Image(named.file, number, is_of_several=True))
        return self._list

    def find(self, images: Sequence[Image]) -> Iterator[FoundSpots]:
        """Find the spots of each image; in the order of the images, as they become ready.

        Raises
        ------
        DialsUnavailable
            No DIALS process can be started.
        """
        requests = [
            ImageRequest(
                os.path.abspath(image.file),  # noqa: PTH100 - a Path would lose what `..` means behind a link
                self._options,
                (image.number, image.number) if image.is_of_several else None,
            )
            for image in images
        ]
        for image, outcome in zip(images, self._processes.answers(requests), strict=True):
            if isinstance(outcome, Success):
                yield FoundSpots(image, outcome.value, seconds=outcome.seconds)
            else:
                yield FoundSpots(image, None, outcome.reason)

    def picture(self, image: Image) -> SpotPicture:
        """Return an image with its spots.

        Raises
        ------
        NoSuchImages
            It can't be read.
        """
        number = image.number if image.is_of_several else 1
        path = os.path.abspath(image.file)  # noqa: PTH100
        [outcome] = self._processes.answers([SpotPictureRequest(path, self._options, number)])
        if isinstance(outcome, Failure):
            raise NoSuchImages(outcome.reason)
        picture: SpotPicture = outcome.value
        return picture

    def _read(self, names: Sequence[str]) -> Iterator[NamedFile]:
        for name in names:
            try:
                yield from read_name(name)
            except PlazaError as error:
                self._list.refused.append(str(error))

    def _most_images(self) -> int:
        """Return how many images there are, if that is known before a master is read; else more than cores."""
        if any(holds_several_images(named.file) and named.last is None for named in self._files):
            return usable_cores() * 1_000
        return max(1, sum(1 if named.last is None else named.last - (named.first or 1) + 1 for named in self._files))

    def _read_contents(self) -> dict[str, StoredImages | Failure]:
        """Return what the files hold that may hold several images."""
        files = list(dict.fromkeys(named.file for named in self._files if holds_several_images(named.file)))
        requests: list[DiffractionRequest] = [ContentRequest(os.path.abspath(file)) for file in files]  # noqa: PTH100
        answers = self._processes.answers(requests)
        return {
            file: answer.value if isinstance(answer, Success) else answer
            for file, answer in zip(files, answers, strict=True)
        }

    def _choose(self, named: NamedFile, content: StoredImages | Failure) -> Sequence[int]:
        """Return the numbers of the images of a file that are wanted; those that aren't stored if named only."""
        if isinstance(content, Failure):
            self._list.refused.append(content.reason)
            return ()
        if named.first is not None and named.last is not None:
            if named.last > content.last:
                self._list.refused.append(
                    f"{named.file} has images 1 to {content.last}; asked for were {named.first} to {named.last}"
                )
                return ()
            return range(named.first, named.last + 1)
        if line := describe_missing(named.file, content):
            is_refusal = content.damages or not content.stored
            (self._list.refused if is_refusal else self._list.notes).append(line)
        return content.stored


def describe_repeats(again: Sequence[NamedFile]) -> str:
    """Say which files were named more than once.

    >>> describe_repeats([NamedFile("a.nxs"), NamedFile("b.nxs")])
    'a.nxs and 1 other were named more than once: each is done once'
    """
    files = list(dict.fromkeys(named.file for named in again))
    if not files[1:]:
        return f"{files[0]} was named more than once: it is done once"
    others = len(files) - 1
    return f"{files[0]} and {others:,} other{'s' * (others != 1)} were named more than once: each is done once"


def describe_missing(file: str, content: StoredImages) -> str | None:
    """Say how many images of a master are missing, and which data files are to blame; None if none is.

    >>> describe_missing("m.nxs", StoredImages((1, 2), expected=4, last=4))
    "m.nxs: 2 of 4 images aren't stored (yet); the others are done"
    """
    if not content.missing:
        return None
    if content.unread:
        # what is broken says more than what may just not be there yet
        named = (content.damages or content.unread)[0]
        more = len(content.unread) - 1
        others = f" (and {more:,} other file{'s' * (more != 1)})" if more else ""
        lack, reason = "can't be had", f": {named.file} {named.reason}{others}"
    else:
        lack, reason = "aren't stored (yet)", ""
    if not content.stored:
        return f"{file}: its {content.expected:,} images {lack}{reason}"
    return f"{file}: {content.missing:,} of {content.expected:,} images {lack}{reason}; the others are done"


def _parts(content: StoredImages | Failure) -> Sequence[str]:
    return content.parts if isinstance(content, StoredImages) else ()
