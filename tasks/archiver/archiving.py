"""Archiver: tell the data catalogue (ICAT) which files a data collection has, by XML drop files.

Both steps look at each file, split what is too much for one drop file into numbered parts and send each part's XML on
`dropfile`. A drop file is written under a temporary name and then renamed, and never over a different one. Its
timestamp is that of the message, so a message that comes again after a crash writes the same file.

Differences from Zocalo, on purpose: all parts come from one message; gaps are seen across parts, and missing files
are told once for the whole pattern; files beyond 3 TiB count as failed. `dropfile-queue` means nothing without a
message broker: it is ignored with a warning, and the output `dropfile` carries the same XML.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt

from blocks.errors import MessageRefused, PassingFault
from tasks.archiver.icat_drop_file import DataFile, dataset_name, format_dropfile
from tasks.step import USUAL_RETRIES, Fills, Message, NodePlan, Send, StepContext, StepParameters, message_step
from tasks.step.atomic_file import write_atomically

INDUSTRIAL_CODES = ("ic", "il", "in", "sw")
UNSET_DROPFILE = "{dropfile_override}"  # what stands in a recipe when nobody asked for another place
NAMES_IN_LOG = 10

DROPFILE_FIELDS = ("visit_id", "beamline", "timestamp", "multipart")

FilledIn = Annotated[str, Field(pattern=r"^[^{}]+$")]  # no placeholder left
Template = Annotated[str | None, Fills(*DROPFILE_FIELDS)]


class ArchiverParameters(StepParameters):
    """What both ways of archiving share."""

    visit: FilledIn
    beamline: FilledIn
    limit_files: NonNegativeInt = Field(0, alias="limit-files")
    dropfile: Annotated[str | None, Fills(*DROPFILE_FIELDS, UNSET_DROPFILE.strip("{}"))] = None
    dropfile_dir: Template = Field(None, alias="dropfile-dir")
    dropfile_filename: Template = Field(None, alias="dropfile-filename")
    dropfile_queue: str | None = Field(None, alias="dropfile-queue")
    log_file_warnings_as_info: bool = Field(False, alias="log-file-warnings-as-info")
    log_summary_warning_as_info: bool = Field(False, alias="log-summary-warning-as-info")

    def dropfile_path(self, timestamp: str, multipart: str) -> Path | None:
        """Fill in where a part's drop file goes; None if nobody wants it on disk.

        Raises
        ------
        MessageRefused
            The template has a field that isn't known.
        """
        template = self.dropfile if self.dropfile != UNSET_DROPFILE else None
        if not template and self.dropfile_dir and self.dropfile_filename:
            template = str(Path(self.dropfile_dir) / self.dropfile_filename)
        if not template:
            return None
        fields = dict(zip(DROPFILE_FIELDS, (self.visit, self.beamline, timestamp, multipart), strict=True))
        try:
            return Path(template.format(**fields))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise MessageRefused(
                f"the drop file's path {template!r} can't be filled in ({error!r}); known fields: {', '.join(fields)}"
            ) from error


class PatternParameters(ArchiverParameters):
    """Parameters of `archive.pattern`."""

    pattern: FilledIn
    pattern_start: int = Field(alias="pattern-start")
    pattern_end: int = Field(alias="pattern-end")


class FileListParameters(ArchiverParameters):
    """Parameters of `archive.filelist`; a list in the payload wins over this one."""

    filelist: Any = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a file: its size and time, or why there's nothing to archive."""

    path: str
    file: DataFile | None = None
    error: Exception | None = None

    @property
    def is_missing(self) -> bool:
        """The file isn't there, as opposed to: it can't be archived."""
        return isinstance(self.error, FileNotFoundError)


def check_pattern(parameters: PatternParameters, plan: NodePlan) -> None:
    """Refuse a pattern that can't be expanded, and archiving that nobody hears of."""
    expand_pattern(parameters.pattern, 0, 0)
    _check_dropfile(parameters, plan)


def check_filelist(parameters: FileListParameters, plan: NodePlan) -> None:
    """Refuse a node without files, and archiving that nobody hears of."""
    if plan.payloads is None:
        _check_list(parameters.filelist or ["any"])
    for payload in plan.payloads or ():
        own = payload if isinstance(payload, Mapping) else {}
        _check_list(own.get("filelist", parameters.filelist))
    _check_dropfile(parameters, plan)


def _check_dropfile(parameters: ArchiverParameters, plan: NodePlan) -> None:
    if parameters.dropfile_path("", "") is None and not plan.has_outputs:
        raise MessageRefused(
            "nothing comes of archiving: expected `dropfile`, or `dropfile-dir` and `dropfile-filename`, or a step "
            "that the output `dropfile` leads to; seen none of them"
        )


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
    resumed = message.payload if isinstance(message.payload, Mapping) else {}
    start = _read_number(resumed, "archive-pattern-start", parameters.pattern_start)
    label = _read_number(resumed, "archive-multipart", 0)
    looks = [look_at(path) for path in expand_pattern(parameters.pattern, start, parameters.pattern_end)]
    dropfiles = _register(parameters, looks, parameters.pattern, label, message, context)
    return [*_tell_missing(looks, context), *dropfiles]


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
    payload = message.payload if isinstance(message.payload, Mapping) else {"archive-multipart": 0}
    paths = payload.get("filelist", parameters.filelist)
    _check_list(paths)
    label = _read_number(payload, "archive-multipart", 1)
    return _register(parameters, [look_at(path) for path in paths], paths[0], label, message, context)


def _check_list(paths: Any) -> None:
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
        raise MessageRefused(
            f"expected a list of file names as `filelist` of the payload or of the parameters, seen {paths!r:.200}"
        )


def is_confidential(visit: str, allowed: Sequence[str]) -> bool:
    """Tell whether a visit is industry's, and neither it, its proposal nor its two-letter code is allowed."""
    name = visit.lower()
    names = {name, name.split("-")[0], name[:2]}
    return name.startswith(INDUSTRIAL_CODES) and names.isdisjoint(entry.lower() for entry in allowed)


def expand_pattern(pattern: str, start: int, end: int) -> list[str]:
    """Return the file names of a printf pattern, both ends included.

    Raises
    ------
    MessageRefused
        The pattern hasn't exactly one field for a number.
    """
    try:
        pattern % 0  # even when no image is asked for
        return [pattern % number for number in range(start, end + 1)]
    except (TypeError, ValueError) as error:
        raise MessageRefused(
            f"expected a pattern with one field for the image number, such as x_%04d.cbf; seen {pattern!r}: {error}"
        ) from error


def look_at(path: str) -> Look:
    """See what there is to archive of a file."""
    try:
        stat = Path(path).stat()
        return Look(path, DataFile(path, stat.st_size, stat.st_mtime))
    except (OSError, ValueError) as error:
        return Look(path, error=error)


def split_into_parts(looks: Iterable[Look], limit: int) -> list[list[Look]]:
    """Begin a new part before each file that follows `limit` archivable ones; 0 is no limit.

    What is missing stays in the part where it was looked for. There's always one part.
    """
    parts: list[list[Look]] = [[]]
    archivable = 0
    for look in looks:
        if limit and archivable >= limit:
            parts.append([])
            archivable = 0
        parts[-1].append(look)
        archivable += look.file is not None
    return parts


def is_missing_within(looks: Iterable[Look]) -> bool:
    """Tell whether a file is there after one that is missing."""
    after_first = itertools.dropwhile(lambda look: not look.is_missing, looks)
    return any(look.file is not None for look in after_first)


def _tell_missing(looks: Sequence[Look], context: StepContext) -> Iterator[Send]:
    missing = [look.path for look in looks if look.is_missing]
    if not missing:
        return
    if is_missing_within(looks):
        context.logger.error("files are missing from within the pattern: %s", _shorten(missing))
        yield Send(missing, "missing_files_within")
    yield Send(missing, "missing_files")
    if not any(look.file for look in looks):
        yield Send(missing, "all_files_missing")


def _register(
    parameters: ArchiverParameters,
    looks: Sequence[Look],
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
    parts = split_into_parts(looks, parameters.limit_files)
    first = label or (1 if len(parts) > 1 else 0)
    sends = []
    for number, part in enumerate(parts, first):
        files = [look.file for look in part if look.file]
        dataset = dataset_name(part[0].path if part else pattern, parameters.visit)
        xml = format_dropfile(parameters.visit, parameters.beamline, dataset, files)
        path = parameters.dropfile_path(timestamp, f"-{number}" if first else "")
        if path and files:
            context.logger.info("wrote the drop file %s", _write_beside_others(path, xml))
        payload = {"success": len(files), "failed": len(part) - len(files), "xml": xml.decode("latin-1")}
        sends.append(Send(payload, "dropfile"))
    _log_outcome(parameters, looks, context)
    return sends


def _write_beside_others(path: Path, xml: bytes) -> Path:
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
        free = next(name for name in names if not name.exists() or name.read_bytes() == xml)
        write_atomically(free, xml)
    except OSError as error:
        if USUAL_RETRIES.may_pass(error):
            raise PassingFault(f"the drop file can't be written to {path.parent} now: {error}") from error
        raise MessageRefused(f"the drop file can't be written: {error}; make {path.parent} writable") from error
    return free


def _log_outcome(parameters: ArchiverParameters, looks: Sequence[Look], context: StepContext) -> None:
    if parameters.dropfile_queue:
        context.logger.warning(
            "dropfile-queue %r is ignored: there is no message broker; link the output `dropfile`, which has the XML",
            parameters.dropfile_queue,
        )
    log = context.logger.info if parameters.log_file_warnings_as_info else context.logger.warning
    for look in looks:
        if look.error and not look.is_missing:
            log("could not archive %s: %s", look.path, look.error)
    missing = [look.path for look in looks if look.is_missing]
    if missing:
        context.logger.info("%d files were not found: %s", len(missing), _shorten(missing))
    failed = sum(look.error is not None for look in looks)
    if failed:
        log = context.logger.info if parameters.log_summary_warning_as_info else context.logger.warning
        log("failed to archive %d files", failed)
    context.logger.info("archived %d files", len(looks) - failed)


def _read_number(payload: Mapping[str, Any], key: str, default: int) -> int:
    value = payload.get(key, default)
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise MessageRefused(f"expected a number as the payload's {key!r}, seen {value!r}") from error


def _shorten(paths: Sequence[str]) -> str:
    rest = len(paths) - NAMES_IN_LOG
    return ", ".join(paths[:NAMES_IN_LOG]) + (f" and {rest} more" if rest > 0 else "")
