"""The files of a data collection: from ISPyB's template and numbers to names, and back."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

# Zocalo counts all # of a template, and loses what is between two runs
LAST_HASHES = re.compile(r"(?<!#)#++(?=[^#]*$)")


@dataclass(frozen=True)
class SweepFiles:
    """Where a sweep's images are: the first one's file, and the first and last number; as text, as xia2 takes it."""

    file: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.file}:{self.first}:{self.last}"


def sweep_files(directory: str | None, template: str | None, first: int | None, last: int | None) -> SweepFiles | None:
    """Return where a sweep's images are; None if ISPyB doesn't say enough."""
    if not directory or not template or first is None or last is None:
        return None
    return SweepFiles(image_file(directory, template, first), first, last)


def last_image(first: int | None, count: int | None) -> int | None:
    """Return the number of the last image; None if ISPyB doesn't say."""
    return None if first is None or count is None else first + count - 1


def image_pattern(template: str) -> str:
    """Make a `%0Nd` pattern of a template's (last) run of `#`; one without stays as it is."""
    if "#" not in template:
        return template
    return LAST_HASHES.sub(lambda hashes: f"%0{len(hashes[0])}d", template.replace("%", "%%"))


def image_file(directory: str, template: str, number: int) -> str:
    """Return the path of an image, or of the one file that holds them all."""
    return directory.rstrip("/") + "/" + file_name(template, number)


def file_name(template: str, number: int) -> str:
    """Return the name of the file of an image, or of the one file that holds them all."""
    return LAST_HASHES.sub(lambda hashes: f"{number:0{len(hashes[0])}d}", template)


def image_number(template: str, name: str) -> int | None:
    """Return the number of the image that a file of this name holds; None if the template doesn't make such names."""
    hashes = LAST_HASHES.search(template)
    if hashes is None:
        return None
    before, after = template[: hashes.start()], template[hashes.end() :]
    digits = re.fullmatch(rf"{re.escape(before)}(\d+){re.escape(after)}", name, re.ASCII)
    # More digits than # are right: numbers outgrow a template, as `%05d` writes 100000.
    if digits is None or len(digits[1]) < len(hashes[0]):
        return None
    return int(digits[1])


def collection_name(prefix: str | None, number: int | None, template: str | None) -> str:
    """Name a data collection as its files are: `<prefix>_<number>`, else the template without `#` and suffix."""
    if prefix and number is not None:
        return f"{prefix}_{number}"
    return PurePosixPath((template or "").replace("#", "")).stem.rstrip("_")
