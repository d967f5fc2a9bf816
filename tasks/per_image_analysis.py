"""Per-image analysis: what DIALS says of each image, as soon as it's there (Zocalo's per_image_analysis)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from blocks.errors import MessageRefused
from blocks.validation_faults import describe
from tasks.diffraction.dials_checks.checks import ChecksByDials
from tasks.diffraction.dials_checks.differences import Differences
from tasks.diffraction.fan_out import IMAGE_RETRIES, FanOut
from tasks.diffraction.requests import AnalysisParameters, ImageRequest, ImageStatistics
from tasks.step import Message, NodePlan, Send, StepContext, stream_step


def check_analysis(parameters: AnalysisParameters, plan: NodePlan) -> None:
    """Refuse a node that is started without an image."""
    for payload in plan.payloads or ():
        read_request(payload, parameters)


@stream_step(
    queue="per_image_analysis",
    parameters=AnalysisParameters,
    outputs=("result",),
    default_output="result",
    retries=IMAGE_RETRIES,
    check=check_analysis,
    only_sends=True,
)
async def analyse_images(
    parameters: AnalysisParameters, inbox: AsyncIterator[Message], context: StepContext
) -> AsyncIterator[Send]:
    """Analyse each image on the analysis cluster; results go out in the order in which they are ready.

    A message names the `file`; its `parameters`, if any, go before the recipe's (the file watcher sends the
    `scan_range` of an image of a master so). The result has DIALS's statistics, and what the message says of the file.

    DIALS itself checks some images; once it finds that numbers aren't its own, it does all that follow.
    """
    settings = context.resources.settings
    checks = ChecksByDials(context, settings.spots_checked_one_in, Differences(settings.home))

    def make_request(message: Message) -> ImageRequest:
        return checks.instruct(message, read_request(message.payload, parameters))

    done = 0
    fan_out = FanOut(replace(context, refuse=checks.refuse), make_request)
    async for message, analysis in fan_out.results(inbox):
        if not checks.accept(message, analysis):
            fan_out.again(message)
            continue
        done += 1
        context.progress(done, None)
        yield Send(make_result(message.payload, analysis.statistics), "result", follows=message, completes=(message,))
    if message_left := checks.left_to_check():
        await _check_late(message_left, parameters, checks, context)
    checks.end()


async def _check_late(
    message: Message, parameters: AnalysisParameters, checks: ChecksByDials, context: StepContext
) -> None:
    """Have DIALS do an image, too, whose result is out: for what it says of the run."""

    async def inbox() -> AsyncIterator[Message]:
        yield message

    def give_up(_: Message, error: Exception) -> None:
        context.logger.warning("the check by DIALS at the inbox's end has failed: %s", error)

    request = replace(read_request(message.payload, parameters), check=True)
    async for _, analysis in FanOut(replace(context, refuse=give_up), lambda _: request).results(inbox()):
        checks.take_late(request.image, analysis)


def read_request(payload: Any, parameters: AnalysisParameters) -> ImageRequest:
    """Read what a message asks for.

    Raises
    ------
    MessageRefused
        It names no file, or its parameters are wrong.
    """
    file = payload.get("file") if isinstance(payload, Mapping) else None
    if not isinstance(file, str) or file in ("", "None"):
        raise MessageRefused(f"per-image analysis needs the path of an image as `file`; it got {payload!r:.200}")
    own = payload.get("parameters") or {}
    if not isinstance(own, Mapping):
        raise MessageRefused(f"the `parameters` of a message must be an object; those of {file} are {own!r:.200}")
    if own:
        try:
            parameters = AnalysisParameters.model_validate(parameters.model_dump() | dict(own))
        except ValidationError as error:
            raise MessageRefused(f"the parameters of the message for {file} are wrong: {describe(error)}") from error
    return ImageRequest(file, parameters.options, parameters.scan_range)


def make_result(payload: Mapping[str, Any], statistics: ImageStatistics) -> dict[str, Any]:
    """Return DIALS's nine statistics with every key of the message that starts with `file`."""
    return statistics.as_payload() | {key: value for key, value in payload.items() if key.startswith("file")}
