"""Previews and thumbnails of diffraction images (Zocalo's images service)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError

from blocks.errors import MessageRefused, NodeRefused
from blocks.validation_faults import describe
from tasks.confinement import visit_folders
from tasks.diffraction.fan_out import IMAGE_RETRIES, FanOut
from tasks.diffraction.requests import (
    LAST_IMAGE,
    AnalysisParameters,
    PreviewRequest,
    holds_several_images,
    names_in_full,
)
from tasks.step import Message, NodePlan, Send, StepContext, StepParameters, stream_step
from tasks.whole_number import whole_number

COMMAND = "diffraction"
COMPRESSED_IMAGE = re.compile(r"\.[^./]+\.(gz|bz2)\Z")  # whose name has two extensions
VISIT = re.compile(r"/[a-z]{2}[0-9]{4,}-[0-9]+/")  # Diamond's, as in /mx12345-6/; the first in a path counts


class PreviewParameters(StepParameters):
    """What the step may be told by the recipe; each may come with the message, which then goes first."""

    model_config = ConfigDict(extra="allow")

    image_command: str | None = None
    file: str | None = None
    input: str | None = None
    output: str | None = None


def check_preview(parameters: PreviewParameters, plan: NodePlan) -> None:
    """Refuse what isn't a preview's command, or a preview of nothing."""
    recipe = parameters.model_dump(exclude_none=True)
    if plan.payloads is None:
        _check_command(recipe.get("image_command", COMMAND))
    for payload in plan.payloads or ():
        read_request(payload, recipe)


@stream_step(queue="images", parameters=PreviewParameters, retries=IMAGE_RETRIES, check=check_preview)
async def make_preview(
    parameters: PreviewParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Draw images as JPEG, with a thumbnail beside each: `name.jpeg` and `namet.jpeg`. Nothing is sent.

    The images are drawn on the analysis cluster, in the DIALS processes: reading a master's images in this process,
    where a file watcher may have the data files open, could silently give the wrong image.
    """
    done = 0
    recipe = parameters.model_dump(exclude_none=True)
    names = PreviewNames()
    link_targets = tuple(map(str, context.resources.settings.visit_link_targets))

    def make_request(message: Message) -> PreviewRequest:
        return names.claim(replace(read_request(message.payload, recipe), link_targets=link_targets))

    async for message, files in FanOut(context, make_request).results(inbox):
        done += 1
        context.progress(done, None)
        context.logger.info("Wrote the preview %s and its thumbnail", files[0])
        context.done(message)
    return
    yield  # a stream step is a generator, though this one sends nothing


class PreviewNames:
    """The previews of a run, each of one image; whose those of other runs are, their files say.

    All of them are kept, since the recipe may name any two alike: 0.4 kB each, as much as of a message that waits. That
    is 45 MB for a hundred thousand, many times as many as anybody looks at.
    """

    def __init__(self) -> None:
        self._images: dict[str, str] = {}

    def claim(self, request: PreviewRequest) -> PreviewRequest:
        """Return a request whose names no other image of the run has.

        Raises
        ------
        MessageRefused
            The recipe or the message names the preview as it has named another image's.
        """
        if (other := self._find_other(request)) and request.by_default:
            output, thumbnail = names_in_full(request)
            request = replace(request, output=output, thumbnail=thumbnail)
            other = self._find_other(request)
        if other:
            raise MessageRefused(
                f"{request.output} is the preview of {other}: give {request.shown_image} an `output` of its own"
            )
        self._images[request.output] = self._images[request.thumbnail] = request.shown_image
        return request

    def _find_other(self, request: PreviewRequest) -> str | None:
        owners = {self._images.get(name) for name in (request.output, request.thumbnail)}
        return next(iter(owners - {None, request.shown_image}), None)


def read_request(payload: Any, recipe: Mapping[str, Any]) -> PreviewRequest:
    """Read which image is wanted, and where.

    Raises
    ------
    MessageRefused
        The command isn't `diffraction` (NodeRefused if it's the recipe's), or no file is named.
    """
    # As in Zocalo, what the message says wins, unless it's empty.
    wanted = dict(recipe)
    if isinstance(payload, Mapping):
        wanted |= {key: value for key, value in payload.items() if value}
    try:
        _check_command(wanted.get("image_command"))
    except MessageRefused as error:
        brought = isinstance(payload, Mapping) and payload.get("image_command")
        if recipe.get("image_command") and not brought:
            raise NodeRefused(str(error)) from error
        raise
    file, index = _find_image(wanted)
    own = wanted.get("output")
    output = str(own) if own else default_output(file, index)
    if own and own != recipe.get("output"):
        _require_same_visit(file, output)
    return PreviewRequest(file, index, output, thumbnail_of(output), by_default=not own)


def _require_same_visit(file: str, output: str) -> None:
    """Refuse a message that has a visit's image drawn outside of that visit; a recipe may."""
    left = [visit for visit in visit_folders(Path(file)) if not Path(output).is_relative_to(visit)]
    if left:
        raise MessageRefused(
            f"expected the preview of {file} within {left[0]}; seen the message's output {output!r:.200}"
        )


def _check_command(command: Any) -> None:
    if command != COMMAND:
        raise MessageRefused(f"the only `image_command` is {COMMAND!r}; seen {command!r:.100}")


def _find_image(wanted: Mapping[str, Any]) -> tuple[str, int]:
    """Return the file and the index in it, from `file` and what the file watcher says of it, else from `input`."""
    file = wanted.get("file")
    if file and file != "None":
        return str(file), _number_of(wanted) if holds_several_images(str(file)) else 1
    source = wanted.get("input")
    if source and source != "None":
        return split_input(str(source))
    raise MessageRefused(
        f"a preview needs `file` or `input` (path:index); seen file {file!r:.200}, input {source!r:.200}"
    )


def _number_of(wanted: Mapping[str, Any]) -> int:
    """Return the image's number in a master as the file watcher gives it with an item of a master; 1 by default."""
    own = wanted.get("parameters")
    try:
        if isinstance(own, Mapping) and own.get("scan_range"):
            scan_range = AnalysisParameters.model_validate({"scan_range": own["scan_range"]}).scan_range
            if scan_range:
                return scan_range[0]
    except ValidationError as error:
        raise MessageRefused(f"the image of a preview isn't told by {own!r:.200}: {describe(error)}") from error
    if "hdf5-index" not in wanted:
        return 1
    index = whole_number(wanted["hdf5-index"])
    if index is None or not 0 <= index < LAST_IMAGE:
        raise MessageRefused(f"`hdf5-index` is the place of an image, from 0; seen {wanted['hdf5-index']!r:.100}")
    return index + 1  # the watcher counts an item's place in a master from 0; DIALS and xia2 count images from 1


def split_input(source: str) -> tuple[str, int]:
    """Split xia2's `path:index[:x]`; any file but a master or a stack has one image only.

    Of a collection that is numbered from 0, as it may be in ISPyB, it's 0: the first image, which is 1 in any master.

    >>> split_input("/data/a_master.h5:7:9"), split_input("/data/a_0007.cbf:7"), split_input("/data/a_master.h5")
    (('/data/a_master.h5', 7), ('/data/a_0007.cbf', 1), ('/data/a_master.h5', 1))
    >>> split_input("/data/a_0000.img:0:0")
    ('/data/a_0000.img', 1)
    """
    match = re.fullmatch(r"(.*?)(?::([0-9]{1,8})(?::[0-9]+)?)?", source, re.DOTALL)
    assert match, "any text matches it"
    path, index = match.groups()
    return path, max(int(index or 1), 1) if holds_several_images(path) else 1


def default_output(file: str, index: int = 1) -> str:
    """Return where an image's preview belongs: in `jpegs`, right below the visit's folder.

    Zocalo's name, with the number of a later image of a file. It isn't one image's alone, since it lacks the extension:
    where another's preview stands under it, this one gets a longer name when it's drawn.

    >>> default_output("/dls/i03/data/2026/cm1234-5/xtal/a_0001.cbf")
    '/dls/i03/data/2026/cm1234-5/jpegs/xtal/a_0001.jpeg'

    Raises
    ------
    MessageRefused
        The path has no visit's folder.
    """
    visit = VISIT.search(file)
    if visit is None:
        raise MessageRefused(f"{file} is below no visit's folder, such as /cm1234-5/: name the preview by `output`")
    path = Path(f"{file[: visit.end()]}jpegs/{file[visit.end() :]}")
    stem = COMPRESSED_IMAGE.sub("", path.name) if COMPRESSED_IMAGE.search(path.name) else path.stem
    return str(path.with_name(f"{stem}.jpeg" if index == 1 else f"{stem}_{index}.jpeg"))


def thumbnail_of(preview: str) -> str:
    """Return the name of a preview's thumbnail, as ISPyB's users know it.

    >>> thumbnail_of("/jpegs/a_0001.jpeg")
    '/jpegs/a_0001t.jpeg'
    """
    path = Path(preview)
    return str(path.with_name(f"{path.stem}t{path.suffix}"))
