"""X-ray centring: gather a grid scan's per-image results and tell where the crystal is, as soon as the grid is whole.

Two-dimensional scans only. The messages of three-dimensional ones (parameter `dcg_dcids`, or experiment type Mesh3D)
are refused with the reason: a centre found from one of their grids alone would be wrong.

Differences from Zocalo, on purpose: an image that comes twice counts once; an incomplete grid is given up when the
inbox ends, not after a quarter of an hour of silence, and its images aren't done then: they come again when the run is
taken up, with those that were missing.
"""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blocks.errors import MessageRefused, NodeRefused
from blocks.retrying import retry
from blocks.validation_faults import describe
from tasks.confinement import is_plain_name, link_confined, visit_folders, write_confined
from tasks.step import ABORT, USUAL_RETRIES, Message, NodePlan, Send, StepContext, stream_step
from tasks.xray_centring.mathematics import CentringResult, draw_grid, find_centre
from tasks.xray_centring.models import CentringParameters, GatheredImages, GridInfo, ImageResult

SINGLE_IMAGE_COMMENT = "Diffraction grid scan of 1 by 1 images"  # has no grid information, and needs none
MENDED_BY = (
    "a run keeps what it has read: with the right row start a new one, or tell this one by "
    "`plaza resume RUN --from NODE --param 'gridinfo={…}'`"
)
NUMBERS_NAMED = 10
WRITE_TRIES = 3  # seconds, not minutes: somebody waits for what comes after
WRITE_PAUSES = USUAL_RETRIES.pauses


def check_centring(parameters: CentringParameters, plan: NodePlan) -> None:
    """Refuse a scan that can't be centred, and a result that nobody hears of."""
    read_grid_info(parameters, plan.node)
    if not (parameters.output or parameters.log or plan.has_outputs):
        raise MessageRefused(
            "nothing comes of centring: expected a file as `output` or `log`, or a step that the output `success` "
            "leads to; seen none of them"
        )


def describe_empty_grid(parameters: CentringParameters, node: Mapping[str, Any]) -> str | None:
    """Say that no image of a grid ever came; a scan of a single image lacks nothing."""
    info = read_grid_info(parameters, node)
    if info is None:
        return None
    return (
        f"data collection {parameters.dcid} isn't centred: no image of the grid came, of {info.steps_x * info.steps_y}"
    )


@stream_step(
    queue="reduce.xray_centering",
    parameters=CentringParameters,
    outputs=("success", ABORT),
    default_output="success",
    check=check_centring,
    without_messages=describe_empty_grid,
)
async def centre_crystal(
    parameters: CentringParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Send where the crystal is once all images of the grid are there; `abort` if the inbox ends before.

    The images are done together, with what is sent: a run that is killed before gathers them anew, as does one that is
    taken up after the inbox ended too early, or after the result couldn't be written.
    """
    try:
        info = read_grid_info(parameters, context.node)
    except NodeRefused as error:
        async for message in inbox:
            context.refuse(message, error)
        return
    if info is None:
        async for message in inbox:
            context.done(message)
        return
    grid = _Grid(parameters, info, context)
    async for message in inbox:
        if grid.is_completed_by(message) and (answer := await grid.centre(message)):
            yield answer
    if answer := grid.end():
        yield answer


def read_grid_info(parameters: CentringParameters, node: Mapping[str, Any]) -> GridInfo | None:
    """Return the node's grid information; None for a scan of a single image, which has none.

    Raises
    ------
    NodeRefused
        None of the node's messages can be used.
    """
    if parameters.is_3d:
        raise NodeRefused(
            f"data collection {parameters.dcid} is part of a three-dimensional grid scan (experiment type "
            f"{parameters.experiment_type}, with data collections {parameters.dcg_dcids}); only two-dimensional "
            "centring is offered: for it a recipe gives neither dcg_dcids nor the type Mesh3D"
        )
    info = node.get("gridinfo")
    if not info:
        if SINGLE_IMAGE_COMMENT in str(node.get("comment")):
            return None
        raise NodeRefused(
            f"data collection {parameters.dcid} has no grid information: expected `gridinfo` in the recipe's node, "
            f"from ISPyB's table GridInfo; {MENDED_BY}"
        )
    try:
        return GridInfo.model_validate(info)
    except ValidationError as error:
        raise NodeRefused(
            f"the grid information of data collection {parameters.dcid} is wrong: {describe(error)}; "
            f"correct its row of ISPyB's table GridInfo; {MENDED_BY}"
        ) from error


class _Grid:
    """The images of a grid as they are gathered, and what becomes of them."""

    def __init__(self, parameters: CentringParameters, info: GridInfo, context: StepContext) -> None:
        self._parameters, self._info, self._context = parameters, info, context
        self._images = GatheredImages(info.steps_x * info.steps_y)
        self._gathered: list[Message] = []
        # By an earlier process: what is gathered now came late, or the result couldn't be written then
        self._was_told = bool(context.sent_before.get("success"))

    def is_completed_by(self, message: Message) -> bool:
        """Take an image, and tell whether it's the last of the grid."""
        image = _read(message, self._context)
        if image is None:
            return False
        if not _is_new(image, self._images, self._context):
            self._context.done(message)
            return False
        self._gathered.append(message)
        self._context.progress(len(self._images.counts), self._images.expected)
        return self._images.is_complete

    async def centre(self, last: Message) -> Send | None:
        """Write where the crystal is, and return what is to be told of it, unless it was told."""
        parameters, context, gathered = self._parameters, self._context, tuple(self._gathered)
        result, report = await asyncio.to_thread(_find_sample, parameters, self._info, self._images)
        await asyncio.to_thread(_write_report, parameters, report, context)
        fault = await _write_patiently(parameters, result, context)
        if fault:
            reason = f"GDA can't read where the crystal is, as the result can't be written: {fault}"
            context.leave_undone(gathered, reason)
        elif self._was_told:
            self._finish()
        if self._was_told:
            return None
        _log_latency(parameters, result, time.time() - self._images.last_seen_at, context)
        payload = {"results": [asdict(result)], "status": "success", "type": "2d"}
        # ISPyB shall have the result even if GDA can't
        return Send(payload, "success", follows=last, completes=() if fault else gathered)

    def end(self) -> Send | None:
        """Be done with what came late; leave an incomplete grid undone, and return what is told of that."""
        if self._images.is_complete or not self._gathered:
            return None
        if self._was_told:
            self._finish()
            return None
        reason = _describe_gaps(self._parameters, self._images)
        self._context.logger.error("%s", reason)
        self._context.leave_undone(self._gathered, reason, ABORT)
        # The answer to the first, which is the same when all come again: it's told once
        return Send({}, ABORT, follows=self._gathered[0])

    def _finish(self) -> None:
        for message in self._gathered:
            self._context.done(message)


def _read(message: Message, context: StepContext) -> ImageResult | None:
    """Read an image's result; refuse a message that has none."""
    try:
        return ImageResult.model_validate(message.payload)
    except ValidationError as error:
        reason = f"expected an image's analysis with its number, spots and time, seen {message.payload!r:.200}"
        context.refuse(message, MessageRefused(f"{reason} ({describe(error)})"))
        return None


def _is_new(image: ImageResult, images: GatheredImages, context: StepContext) -> bool:
    """Take an image's result; tell whether the grid has one more."""
    try:
        images.add(image)
    except ValueError as error:
        context.logger.warning("ignored: %s", error)
        return False
    return True


def _find_sample(parameters: CentringParameters, info: GridInfo, images: GatheredImages) -> tuple[CentringResult, str]:
    """Return the centre with the sample that it belongs to, and a report for people."""
    grid, counts = info.to_grid(), images.in_order()
    result = find_centre(counts, grid)
    if result.centre_x_box is not None:
        result = replace(result, sample_id=parameters.sample_at(result.centre_x_box, 1000 * info.dx_mm))
    lines = [
        f"grid of {info.steps_x} x {info.steps_y} boxes of {grid.box_size_px} pixels at {grid.snapshot_offset}",
        f"strongest image: {result.best_image}, with {result.reflections_in_best_image} spots",
        draw_grid(counts, grid),
        f"centre x, y in pixels: {result.centre_x}, {result.centre_y}",
        f"centre x, y in boxes: {result.centre_x_box}, {result.centre_y_box}",
        f"status: {result.status} ({result.message})",
    ]
    return result, "\n".join(lines) + "\n"


async def _write_patiently(
    parameters: CentringParameters, result: CentringResult, context: StepContext
) -> OSError | ValueError | None:
    """Write the result, again after a pause for a fault that may pass; return what is in the way for good."""
    try:
        await retry(
            lambda: asyncio.to_thread(_write_result, parameters, result, context),
            USUAL_RETRIES.may_pass,
            WRITE_PAUSES,
            tries=WRITE_TRIES,
        )
    except (OSError, ValueError) as error:  # ValueError: no path at all, with a NUL in it
        return error
    if parameters.output and parameters.results_symlink:
        await asyncio.to_thread(_link_results, parameters.output, parameters, context)
    return None


def _write_result(parameters: CentringParameters, result: CentringResult, context: StepContext) -> None:
    """Leave the result where GDA reads it."""
    if parameters.output:
        content = json.dumps(asdict(result), sort_keys=True).encode()
        write_confined(parameters.output, content, context.resources.settings.visit_link_targets)


def _write_report(parameters: CentringParameters, report: str, context: StepContext) -> None:
    """Leave the report for people: nothing waits for it."""
    try:
        if parameters.log:
            write_confined(parameters.log, report.encode(), context.resources.settings.visit_link_targets)
    except (OSError, ValueError) as error:
        context.logger.warning("the report %s can't be written: %s", parameters.log, error)


def _link_results(output: Path, parameters: CentringParameters, context: StepContext) -> None:
    """Link the result's folder beside that folder's parent: a convenience, without which there's a result as well."""
    folder, name = output.parent, str(parameters.results_symlink)
    link, target = folder.parent.parent / name, f"{folder.parent.name}/{folder.name}"
    also, overwrite = context.resources.settings.visit_link_targets, parameters.overwrite_symlink
    try:
        if not is_plain_name(name):
            raise ValueError("expected a name without slashes as results_symlink")
        if not link_confined(link, target, also, visit_folders(output), overwrite=overwrite):
            context.logger.warning(
                "%s is there already and is left alone: it doesn't lead to %s (see overwrite_symlink)", link, folder
            )
    except (OSError, ValueError) as error:
        context.logger.warning("the link %s to %s can't be made: %s", link, folder, error)


def _log_latency(
    parameters: CentringParameters, result: CentringResult, latency_s: float, context: StepContext
) -> None:
    level = logging.INFO
    if latency_s >= parameters.latency_log_error:
        level = logging.ERROR
    elif latency_s >= parameters.latency_log_warning:
        level = logging.WARNING
    context.logger.log(
        level,
        "centred data collection %d on %s: %s, box %s, %s; %.1f s after its last image was seen",
        parameters.dcid,
        parameters.beamline,
        result.message,
        result.centre_x_box,
        result.centre_y_box,
        latency_s,
    )


def _describe_gaps(parameters: CentringParameters, images: GatheredImages) -> str:
    count = images.expected - len(images.counts)
    numbers = ", ".join(map(str, itertools.islice(images.missing(), NUMBERS_NAMED)))
    return (
        f"data collection {parameters.dcid} isn't centred: {count} of {images.expected} images didn't come: {numbers}"
        + (" …" if count > NUMBERS_NAMED else "")
    )
