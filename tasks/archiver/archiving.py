"""Archiver: tell the data catalogue (ICAT) which files a data collection has, by XML drop files.

Both steps look at each file, split what is too much for one drop file into numbered parts and send each part's XML on
`dropfile`. A drop file is written under a temporary name and then renamed, and never over a different one. Its
timestamp is that of the message, so a message that comes again after a crash writes the same file.

Differences from Zocalo, on purpose: all parts come from one message; gaps are seen across parts, and missing files
are told once for the whole pattern; files beyond 3 TiB count as failed. `dropfile-queue` means nothing without a
message broker: it is ignored with a warning, and the output `dropfile` carries the same XML.
"""

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from blocks.errors import MessageRefused, PassingFault
from tasks.archiver.files import FileStatus, expand_pattern, file_statuses, is_missing_within, split_into_parts
from tasks.archiver.icat_drop_file import dataset_name, format_dropfile
from tasks.archiver.parameters import (
    ArchiverParameters,
    FileListParameters,
    PatternParameters,
    check_filelist,
    check_list,
    check_pattern,
    is_confidential,
)
from tasks.confinement import LeadsAway, write_confined
from tasks.regular_files import NotRegular, read_regular
from tasks.step import USUAL_RETRIES, Message, Send, StepContext, message_step
from tasks.whole_number import whole_number

NAMES_IN_LOG = 10


@message_step(
    queue="archive.pattern",
    parameters=PatternParameters,
    outputs=("dropfile", "missing_files", "missing_files_within", "all_files_missing"),
    default_output="dropfile",
    check=check_pattern,
)
def archive_pattern(parameters: PatternParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Register the files of a pattern; tell which are missing, and whether there are later ones."""
    if is_confidential(parameters.visit, context.resources.settings.archiver_allowed_industrial_visits):
        context.logger.info("%s is an industrial visit: not archived", parameters.visit)
        return []
    # In this form Zocalo's archiver sends itself the rest of a pattern.
    resumed = message.payload if isinstance(message.payload, Mapping) else {}
    start = _read_number(resumed, "archive-pattern-start", parameters.pattern_start)
    label = _read_number(resumed, "archive-multipart", 0)
    statuses = file_statuses(expand_pattern(parameters.pattern, start, parameters.pattern_end))
    dropfiles = _register(parameters, statuses, parameters.pattern, label, message, context)
    return [*_missing_files(statuses, context), *dropfiles]


@message_step(
    queue="archive.filelist",
    parameters=FileListParameters,
    outputs=("dropfile",),
    default_output="dropfile",
    check=check_filelist,
)
def archive_filelist(parameters: FileListParameters, message: Message, context: StepContext) -> Iterable[Send]:
    """Register the files of a list."""
    if is_confidential(parameters.visit, context.resources.settings.archiver_allowed_industrial_visits):
        context.logger.info("%s is an industrial visit: not archived", parameters.visit)
        return []
    # As Zocalo: parts are numbered from 1 where the payload is an object, else only if there are several.
    payload = message.payload if isinstance(message.payload, Mapping) else {"archive-multipart": 0}
    paths = payload.get("filelist", parameters.filelist)
    check_list(paths)
    label = _read_number(payload, "archive-multipart", 1)
    return _register(parameters, file_statuses(paths), paths[0], label, message, context)


def _missing_files(statuses: Sequence[FileStatus], context: StepContext) -> Iterator[Send]:
    missing = [status.path for status in statuses if status.is_missing]
    if not missing:
        return
    if is_missing_within(statuses):
        context.logger.error("files are missing from within the pattern: %s", _shorten(missing))
        yield Send(missing, "missing_files_within")
    yield Send(missing, "missing_files")
    if not any(status.file for status in statuses):
        yield Send(missing, "all_files_missing")


def _register(
    parameters: ArchiverParameters,
    statuses: Sequence[FileStatus],
    pattern: str,
    label: int,
    message: Message,
    context: StepContext,
) -> list[Send]:
    """Write the parts' drop files, and return what goes out on `dropfile`.

    Parameters
    ----------
    pattern
        Names the data set of a part that has no file.
    label
        Number of the first part; 0: none, unless there are more.
    """
    timestamp = datetime.fromtimestamp(message.sent_at or time.time()).strftime("%Y%m%d-%H%M%S")
    parameters.dropfile_path(timestamp, "")  # a wrong template is refused before any part is written
    parts = split_into_parts(statuses, parameters.limit_files)
    first = label or (1 if len(parts) > 1 else 0)
    sends = []
    for number, part in enumerate(parts, first):
        files = [status.file for status in part if status.file]
        dataset = dataset_name(part[0].path if part else pattern, parameters.visit)
        xml = format_dropfile(parameters.visit, parameters.beamline, dataset, files)
        path = parameters.dropfile_path(timestamp, f"-{number}" if first else "")
        if path and files:
            also = context.resources.settings.visit_link_targets
            context.logger.info("wrote the drop file %s", _write_beside_others(path, xml, also))
        payload = {"success": len(files), "failed": len(part) - len(files), "xml": xml.decode("latin-1")}
        sends.append(Send(payload, "dropfile"))
    _log_outcome(parameters, statuses, context)
    return sends


def _write_beside_others(path: Path, xml: bytes, also: Sequence[Path]) -> Path:
    """Write a drop file, under a numbered name if another one stands there that the catalogue hasn't taken yet.

    Raises
    ------
    PassingFault
        The file system is full, or doesn't answer.
    MessageRefused
        It can't be written there.
    """
    names = itertools.chain([path], (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2)))
    try:
        free = next(name for name in names if not os.path.lexists(name) or _holds(name, xml))
        write_confined(free, xml, also)
    except LeadsAway as error:
        raise MessageRefused(
            f"the drop file can't be written: {error}; expected a place that is named without `..`, and within the "
            "visit's folder if the path names one (see PLAZA_VISIT_LINK_TARGETS)"
        ) from error
    except ValueError as error:
        raise MessageRefused(f"the drop file can't be written: {error}") from error
    except OSError as error:
        if USUAL_RETRIES.may_pass(error):
            raise PassingFault(f"the drop file can't be written to {path.parent} now: {error}") from error
        raise MessageRefused(f"the drop file can't be written: {error}; make {path.parent} writable") from error
    return free


def _holds(file: Path, xml: bytes) -> bool:
    """Tell whether a drop file has this content; what is there may be no file at all."""
    try:
        return not file.is_symlink() and read_regular(file, len(xml) + 1) == xml
    except NotRegular:
        return False


def _log_outcome(parameters: ArchiverParameters, statuses: Sequence[FileStatus], context: StepContext) -> None:
    if parameters.dropfile_queue:
        context.logger.warning(
            "dropfile-queue %r is ignored: there is no message broker; link the output `dropfile`, which has the XML",
            parameters.dropfile_queue,
        )
    log = context.logger.info if parameters.log_file_warnings_as_info else context.logger.warning
    for status in statuses:
        if status.error and not status.is_missing:
            log("could not archive %s: %s", status.path, status.error)
    missing = [status.path for status in statuses if status.is_missing]
    if missing:
        context.logger.info("%d files were not found: %s", len(missing), _shorten(missing))
    failed = sum(status.error is not None for status in statuses)
    if failed:
        log = context.logger.info if parameters.log_summary_warning_as_info else context.logger.warning
        log("failed to archive %d files", failed)
    context.logger.info("archived %d files", len(statuses) - failed)


def _read_number(payload: Mapping[str, Any], key: str, default: int) -> int:
    number = whole_number(payload.get(key, default))
    if number is None:
        raise MessageRefused(f"expected a number as the payload's {key!r}, seen {payload[key]!r:.100}")
    return number


def _shorten(paths: Sequence[str]) -> str:
    rest = len(paths) - NAMES_IN_LOG
    return ", ".join(paths[:NAMES_IN_LOG]) + (f" and {rest} more" if rest > 0 else "")
