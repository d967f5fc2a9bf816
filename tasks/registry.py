"""Which step serves which queue. Modules are imported when a recipe needs them."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from blocks.errors import UnknownStep
from tasks.step import Step

STEPS: dict[str, str] = {
    "archive.filelist": "tasks.archiver:archive_filelist",
    "archive.pattern": "tasks.archiver:archive_pattern",
    "filewatcher": "tasks.file_watcher:watch_files",
    "images": "tasks.image_previews:make_preview",
    "ispyb_connector": "tasks.ispyb_access.connector:store_in_ispyb",
    "ispyb_pia": "tasks.ispyb_access.connector:store_in_ispyb",
    "mailnotification": "tasks.mailer:send_mail",
    "nexusparser.find_related_files": "tasks.nexus_parser:find_related_files",
    "notify_gda": "tasks.gda_notification:notify_gda",
    "per_image_analysis": "tasks.per_image_analysis:analyse_images",
    "reduce.xray_centering": "tasks.xray_centring:centre_crystal",
}

# Zocalo's labels of the services, for nodes that name no queue; compared without "DLS", case, blanks and hyphens
SERVICES: dict[str, str] = {
    "filewatcher": "filewatcher",
    "images": "images",
    "ispybconnector": "ispyb_connector",
    "ispybdbconnector": "ispyb_connector",
    "ispybpia": "ispyb_pia",
    "mailer": "mailnotification",
    "mailnotification": "mailnotification",
    "nexusparser": "nexusparser.find_related_files",
    "notifygda": "notify_gda",
    "perimageanalysis": "per_image_analysis",
    "xraycentering": "reduce.xray_centering",
    "xraycentring": "reduce.xray_centering",
}


def queue_of(number: int, node: Mapping[str, Any]) -> str:
    """Return the queue of the step that a recipe node asks for: its `queue`, else that of its `service` label.

    Raises
    ------
    UnknownStep
        The node names neither, or one that no step serves.
    """
    queue, service = node.get("queue"), node.get("service")
    if isinstance(queue, str) and queue in STEPS:
        return queue
    label = re.sub(r"[\s_-]|^dls", "", str(service).lower())
    if queue is None and label in SERVICES:
        return SERVICES[label]
    raise UnknownStep(
        f"node {number} asks for queue {queue!r} (service {service!r}), which no step serves; "
        f"known queues: {', '.join(sorted(STEPS))}"
    )


def load_step(queue: str) -> Step:
    """Import and return the step that serves a queue.

    Raises
    ------
    UnknownStep
        No step serves it.
    """
    try:
        module, name = STEPS[queue].split(":")
    except KeyError:
        raise UnknownStep(f"no step serves the queue {queue!r}; known queues: {', '.join(sorted(STEPS))}") from None
    step = getattr(import_module(module), name)
    if not isinstance(step, Step):
        raise TypeError(f"{STEPS[queue]} is no step")
    return step
