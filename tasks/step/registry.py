"""Which step serves which queue: Plaza's own, and those of the site. Modules are imported when a recipe needs them."""

import logging
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from blocks.errors import UnknownStep
from blocks.installed_packages import package_of
from tasks.step.contract import Step

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

ENTRY_POINTS: Final = "plaza.steps"
DISTRIBUTION: Final = "plaza"
"""Plaza's own package, whose steps that start runs are entry points, too: they are above this layer."""

STEPS: dict[str, str] = {
    "archive.filelist": "tasks.archiver:archive_filelist",
    "archive.pattern": "tasks.archiver:archive_pattern",
    "filewatcher": "tasks.file_watcher:watch_files",
    "images": "tasks.image_previews:make_preview",
    "ispyb_connector": "tasks.ispyb_connector:store_in_ispyb",
    # Zocalo's queue of its own for images' results, lest they delay all else; here each node has its own inbox anyway
    "ispyb_pia": "tasks.ispyb_connector:store_in_ispyb",
    "mailnotification": "tasks.mailer:send_mail",
    "nexusparser.find_related_files": "tasks.nexus_parser:find_related_files",
    "notify_gda": "tasks.gda_notification:notify_gda",
    "per_image_analysis": "tasks.per_image_analysis:analyse_images",
    "reduce.xray_centering": "tasks.xray_centring:centre_crystal",
    "xrc.*": "tasks.zocalo_results:send_results",  # a queue for each beamline
}

# Zocalo's labels of the services, for nodes that name no queue; compared without "DLS", case, blanks and hyphens
SERVICES: dict[str, str] = {
    "dispatcher": "processing_recipe",
    "filewatcher": "filewatcher",
    "images": "images",
    "ispybconnector": "ispyb_connector",
    "ispybdbconnector": "ispyb_connector",
    "ispybpia": "ispyb_pia",
    "mailer": "mailnotification",
    "mailnotification": "mailnotification",
    "mimas": "mimas",
    "mimasbacklog": "mimas.held",
    "nexusparser": "nexusparser.find_related_files",
    "notifygda": "notify_gda",
    "perimageanalysis": "per_image_analysis",
    "sendxrcresultstogda": "xrc.*",
    "xraycentering": "reduce.xray_centering",
    "xraycentring": "reduce.xray_centering",
}


def queue_of(number: int, node: Mapping[str, Any]) -> str:
    """Return the queue of the step that a recipe node asks for: its `queue`, else that of its `service` label.

    A label of queues that are one for each beamline names them all, as `xrc.*`.

    Raises
    ------
    UnknownStep
        The node names neither, or one that no step serves.
    """
    queue, service = node.get("queue"), node.get("service")
    if isinstance(queue, str) and (_place(queue) is not None or queue in site_steps()):
        return queue
    label = re.sub(r"[\s_-]|^dls", "", str(service).lower())
    if queue is None and label in SERVICES:
        return SERVICES[label]
    asked = " of ".join(f"{key} {node[key]!r:.100}" for key in ("queue", "service") if node.get(key) is not None)
    fault = f"asks for {asked}, which no step serves" if asked else "names neither a queue nor a service"
    raise UnknownStep(f"node {number} {fault}; known queues: {', '.join(known_queues())}")


def _place(queue: str) -> str | None:
    """Return where Plaza's own step of a queue is; `*` in the name of a step's queue stands for one word."""
    if queue in STEPS:
        return STEPS[queue]
    family, _, member = queue.rpartition(".")
    return STEPS.get(f"{family}.*") if re.fullmatch(r"[\w-]+", member, re.ASCII) else None


def known_queues() -> list[str]:
    """Return the queues that have a step, of Plaza's and of the site's own."""
    return sorted({*STEPS, *site_steps()})


def own_queues() -> list[str]:
    """Return the queues that have a step of Plaza's, whatever else is installed."""
    return sorted({*STEPS, *(point.name for point in _offered() if _is_ours(point))})


@cache
def site_steps() -> Mapping[str, str]:
    """Return the queues and steps of the entry points `plaza.steps`: of Plaza's flows, and of packages of the site.

    Plaza's own steps stay as they are, whatever a package says. Asked once: it takes some tens of milliseconds.
    """
    found: dict[str, str] = {}
    for point in sorted(_offered(), key=lambda point: not _is_ours(point)):
        rival = STEPS.get(point.name) or found.get(point.name)
        if rival and rival != point.value:
            package = package_of(point) or "a package"
            logger.warning("%s offers a step for the queue %s, which %s serves already", package, point.name, rival)
        elif not rival:
            found[point.name] = point.value
    return found


def _offered() -> Iterable["EntryPoint"]:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _is_ours(point: "EntryPoint") -> bool:
    return package_of(point).lower() == DISTRIBUTION


def load_step(queue: str) -> Step:
    """Import and return the step that serves a queue.

    Raises
    ------
    UnknownStep
        No step serves it, or the site's own can't be imported.
    """
    if (place := _place(queue)) is not None:
        module, name = place.split(":")
        step = getattr(import_module(module), name)
        assert isinstance(step, Step), f"{place} is no step"
        return step
    if queue in site_steps():
        return _load_site_step(queue, site_steps()[queue])
    raise UnknownStep(f"no step serves the queue {queue!r:.100}; known queues: {', '.join(known_queues())}")


def step_name(number: int, node: Mapping[str, Any]) -> str:
    """Return the name of the step that serves a recipe node: where there's none, the service's or the queue's."""
    try:
        return load_step(queue_of(number, node)).name
    except UnknownStep:
        return str(node.get("service") or node.get("queue") or "nameless")


def _load_site_step(queue: str, place: str) -> Step:
    module, _, name = place.partition(":")
    try:
        step = getattr(import_module(module), name)
    except Exception as error:  # whatever a package of someone else's does when it's imported
        raise UnknownStep(
            f"the step {place} of the queue {queue!r} can't be imported: {type(error).__name__}: {error}; correct or "
            f"remove the package whose entry points {ENTRY_POINTS} name it"
        ) from error
    if not isinstance(step, Step):
        raise UnknownStep(
            f"{place}, named for the queue {queue!r}, should be a step (made by `message_step` or `stream_step` of "
            f"tasks.step), and is of type {type(step).__name__}"
        )
    return step
