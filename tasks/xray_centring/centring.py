"""X-ray centring: gather a grid scan's per-image results and tell where the crystal is, as soon as the grid is whole.

Two-dimensional scans only. The messages of three-dimensional ones (parameter `dcg_dcids`, or experiment type Mesh3D)
are refused with the reason: a centre found from one of their grids alone would be wrong.

Differences from Zocalo, on purpose: an image that comes twice counts once; an incomplete grid is given up when the
inbox ends, not after a quarter of an hour of silence.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError

from blocks.errors import MessageRefused
from blocks.retrying import retry
from blocks.validation_faults import describe
from tasks.step import USUAL_RETRIES, Message, NodePlan, Send, StepContext, stream_step
from tasks.step.atomic_file import link_atomically, write_atomically
from tasks.xray_centring.mathematics import CentringResult, draw_grid, find_centre
from tasks.xray_centring.models import CentringParameters, GatheredImages, GridInfo, ImageResult

SINGLE_IMAGE_COMMENT = "Diffraction grid scan of 1 by 1 images"  # has no grid information, and needs none
NUMBERS_IN_LOG = 10
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


@stream_step(
    queue="reduce.xray_centering",
    parameters=CentringParameters,
    outputs=("success", "abort"),
    default_output="success",
    check=check_centring,
)
async def centre_crystal(
    parameters: CentringParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Send where the crystal is once all images of the grid are there; `abort` if the inbox ends before.

    The images are done together, with what is sent: a run that is killed before gathers them anew.
    """
    try:
        info = read_grid_info(parameters, context.node)
    except MessageRefused as error:
        async for message in inbox:
            context.refuse(message, error)
        return
    if info is None:
        async for message in inbox:
            context.done(message)
        return
    images = GatheredImages(info.steps_x * info.steps_y)
    gathered: list[Message] = []
    # A run that is taken up again knows nothing of the images before; those that come late change no result.
    was_told = bool(context.sent_before.get("success"))
    async for message in inbox:
        image = _read(message, context)
        if image is None:
            continue
        if was_told or not _is_new(image, images, context):
            context.done(message)
            continue
        gathered.append(message)
        context.progress(len(images.counts), images.expected)
        if images.is_complete:
            result, report = await asyncio.to_thread(_find_sample, parameters, info, images)
            if fault := await _write_patiently(parameters, result, report):  # ISPyB shall have the result even so
                reason = f"GDA can't read where the crystal is, as the result can't be written: {fault}"
                context.refuse(message, MessageRefused(reason))
            _log_latency(parameters, result, time.time() - images.last_seen_at, context)
            payload = {"results": [asdict(result)], "status": "success", "type": "2d"}
            yield Send(payload, "success", follows=message, completes=tuple(gathered))
    if gathered and not images.is_complete:
        _log_incomplete(parameters, images, context)
        yield Send({}, "abort", follows=gathered[-1], completes=tuple(gathered))


def read_grid_info(parameters: CentringParameters, node: Mapping[str, Any]) -> GridInfo | None:
    """Return the node's grid information; None for a scan of a single image, which has none.

    Raises
    ------
    MessageRefused
        None of the node's messages can be used.
    """
    if parameters.is_3d:
        raise MessageRefused(
            f"data collection {parameters.dcid} is part of a three-dimensional grid scan (experiment type "
            f"{parameters.experiment_type}, with data collections {parameters.dcg_dcids}); only two-dimensional "
            "centring is offered: for it a recipe gives neither dcg_dcids nor the type Mesh3D"
        )
    info = node.get("gridinfo")
    if not info:
        if SINGLE_IMAGE_COMMENT in str(node.get("comment")):
            return None
        raise MessageRefused(
            f"data collection {parameters.dcid} has no grid information: expected `gridinfo` in the recipe's node, "
            "from ISPyB's table GridInfo"
        )
    try:
        return GridInfo.model_validate(info)
    except ValidationError as error:
        raise MessageRefused(
            f"the grid information of data collection {parameters.dcid} is wrong: {describe(error)}; "
            "correct its row of ISPyB's table GridInfo"
        ) from error


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


async def _write_patiently(parameters: CentringParameters, result: CentringResult, report: str) -> OSError | None:
    """Write the results, again after a pause for a fault that may pass; return what is in the way for good."""
    try:
        await retry(
            lambda: asyncio.to_thread(_write_results, parameters, result, report),
            USUAL_RETRIES.may_pass,
            WRITE_PAUSES,
            tries=WRITE_TRIES,
        )
    except OSError as error:
        return error
    return None


def _write_results(parameters: CentringParameters, result: CentringResult, report: str) -> None:
    """Leave the result where GDA reads it, the report, and a link to their folder beside that folder's parent."""
    if parameters.log:
        write_atomically(parameters.log, report.encode())
    if parameters.output:
        write_atomically(parameters.output, json.dumps(asdict(result), sort_keys=True).encode())
    if parameters.output and parameters.results_symlink:
        folder = parameters.output.parent
        link_atomically(folder.parent.parent / parameters.results_symlink, f"{folder.parent.name}/{folder.name}")


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


def _log_incomplete(parameters: CentringParameters, images: GatheredImages, context: StepContext) -> None:
    missing = images.missing()
    context.logger.error(
        "data collection %d isn't centred: %d of %d images didn't come: %s%s",
        parameters.dcid,
        len(missing),
        images.expected,
        ", ".join(map(str, missing[:NUMBERS_IN_LOG])),
        " …" if len(missing) > NUMBERS_IN_LOG else "",
    )
