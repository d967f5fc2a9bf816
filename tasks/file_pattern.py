"""Printf patterns of numbered files, as recipes write them: a folder, and a file name with a field for the number.

Recipes put together what ISPyB says: `{ispyb_dc_info[imageDirectory]}{ispyb_image_pattern}`. The folder comes as it is,
so it may be called `25% DMSO`, `50%d` or `{soak}`; of the file name, the pattern has every other `%` doubled.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

# Up to three digits: a hostile "%999999999d" would ask for a gigabyte of zeros. After a blank there is none, though
# printf knows it as a flag: "50% dry_%04d.cbf" is a name.
_FIELD = re.compile(r"%%|%[-+0]*\d{0,3}(?:\.\d{1,3})?[diu]", re.ASCII)


@dataclass(frozen=True)
class FilePattern:
    """The names of numbered files: what is before and after the number, and how the number is written.

    Parameters
    ----------
    before, after
        Text as it is in the paths.
    number_format
        Printf's, such as `%05d`.
    folder
        The folder with its slash; empty where it is in `before`.
    other_folder
        The folder as it was written, if that isn't the same: see `settled`.
    """

    before: str
    number_format: str
    after: str
    folder: str = ""
    other_folder: str | None = None

    @classmethod
    def parse(cls, pattern: str) -> FilePattern:
        """Read a pattern.

        The field is in the file name, which is what follows the last slash: `%d`, `%i` or `%u`, with flags, width and
        precision. `%%` is a `%` there, and so is a `%` that begins nothing. All else is text, the folder too, except
        that its `%%` is one `%` where there is no folder of that name as it stands. If the file name has no field, the
        folder may have it, by the rules for file names.

        Raises
        ------
        ValueError
            There isn't exactly one field; the message says how many.
        """
        folder, slash, name = pattern.rpartition("/")
        if not _fields(name):
            return cls._of_text(pattern)
        written, usual = folder + slash, _unescaped(folder) + slash
        return replace(cls._of_text(name), folder=usual, other_folder=written if written != usual else None)

    @classmethod
    def _of_text(cls, text: str) -> FilePattern:
        fields = _fields(text)
        if len(fields) != 1:
            raise ValueError(f"it has {len(fields) or 'no'} field{'s' * (len(fields) != 1)} for a number")
        (field,) = fields
        return cls(_unescaped(text[: field.start()]), field[0], _unescaped(text[field.end() :]))

    def path(self, number: int) -> str:
        """Return the path of a file."""
        return f"{self.folder}{self.before}{self.number_format % number}{self.after}"

    def settled(self) -> FilePattern:
        """Return the pattern with its folder as it was written, if that is there; else itself."""
        if self.other_folder is not None:
            with suppress(OSError, ValueError):  # a name that is too long, or has a NUL character in it
                if Path(self.other_folder).is_dir():
                    return replace(self, folder=self.other_folder, other_folder=None)
        return self


def _fields(text: str) -> list[re.Match[str]]:
    return [match for match in _FIELD.finditer(text) if match[0] != "%%"]


def _unescaped(text: str) -> str:
    return text.replace("%%", "%")
