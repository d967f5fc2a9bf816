"""Which step serves which queue. Modules are imported when a recipe needs them."""

from importlib import import_module

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
