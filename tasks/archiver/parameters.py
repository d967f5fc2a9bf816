"""What the archiver is asked for, and whether it can be had."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, NonNegativeInt

from blocks.errors import MessageRefused
from tasks.archiver.files import expand_pattern
from tasks.confinement import is_plain_name
from tasks.step import Fills, NodePlan, StepParameters

INDUSTRIAL_CODES = ("ic", "il", "in", "sw")  # of industry's proposals, which are confidential
UNSET_DROPFILE = "{dropfile_override}"  # what stands in a recipe when nobody asked for another place

DROPFILE_FIELDS = ("visit_id", "beamline", "timestamp", "multipart")
_WIDE = re.compile(r":[^{}]*[0-9]{4}")
_KNOWN_FIELD = re.compile(rf"\{{(?:{'|'.join(DROPFILE_FIELDS)})(?:![rsa])?(?::[^{{}}]*)?\}}")


def _plain(name: str) -> str:
    if not is_plain_name(name):  # it becomes part of the drop file's path
        raise ValueError(f"expected a name that can be a folder's, without slashes; seen {name!r:.100}")
    return name


FilledIn = Annotated[str, Field(pattern=r"^[^{}]+$"), AfterValidator(_plain)]  # no placeholder left
# ISPyB's folders may have braces in their names, but a path doesn't begin with one
FilledInPath = Annotated[str, Field(pattern=r"^[^{]")]
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

        In its folder, which may come from ISPyB, braces around anything but a known field are part of the name.

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
        if _WIDE.search(template):
            raise MessageRefused(f"the drop file's path {template!r:.200} has a field of a thousand characters or more")
        fields = dict(zip(DROPFILE_FIELDS, (self.visit, self.beamline, timestamp, multipart), strict=True))
        try:
            folder, slash, name = template.rpartition("/")
            folder = _KNOWN_FIELD.sub(lambda field: field[0].format(**fields), folder)
            return Path(folder + slash + name.format(**fields))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise MessageRefused(
                f"the drop file's path {template!r:.200} can't be filled in ({error!r:.200}); known fields: "
                + ", ".join(fields)
            ) from error


class PatternParameters(ArchiverParameters):
    """Parameters of `archive.pattern`."""

    pattern: FilledInPath
    pattern_start: int = Field(alias="pattern-start")
    pattern_end: int = Field(alias="pattern-end")


class FileListParameters(ArchiverParameters):
    """Parameters of `archive.filelist`; a list in the payload wins over this one."""

    filelist: Any = None


def check_pattern(parameters: PatternParameters, plan: NodePlan) -> None:
    """Refuse a pattern that can't be expanded, and archiving that nobody hears of."""
    expand_pattern(parameters.pattern, 0, 0)
    _check_dropfile(parameters, plan)


def check_filelist(parameters: FileListParameters, plan: NodePlan) -> None:
    """Refuse a node without files, and archiving that nobody hears of."""
    if plan.payloads is None:
        check_list(parameters.filelist or ["any"])
    for payload in plan.payloads or ():
        own = payload if isinstance(payload, Mapping) else {}
        check_list(own.get("filelist", parameters.filelist))
    _check_dropfile(parameters, plan)


def _check_dropfile(parameters: ArchiverParameters, plan: NodePlan) -> None:
    if parameters.dropfile_path("", "") is None and not plan.has_outputs:
        raise MessageRefused(
            "nothing comes of archiving: expected `dropfile`, or `dropfile-dir` and `dropfile-filename`, or a step "
            "that the output `dropfile` leads to; seen none of them"
        )


def check_list(paths: Any) -> None:
    """Refuse what is no list of file names."""
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
        raise MessageRefused(
            f"expected a list of file names as `filelist` of the payload or of the parameters, seen {paths!r:.200}"
        )


def is_confidential(visit: str, allowed: Sequence[str]) -> bool:
    """Tell whether a visit is industry's, and neither it, its proposal nor its two-letter code is allowed."""
    name = visit.lower()
    names = {name, name.split("-")[0], name[:2]}
    return name.startswith(INDUSTRIAL_CODES) and names.isdisjoint(entry.lower() for entry in allowed)
