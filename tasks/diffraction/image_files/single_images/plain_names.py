"""Names by which dxtbx can open an image file, whatever its own name is.

dxtbx makes a template of the path of a file with one image, in which # stands for digits, and opens what the template
says for the image's number: a path that has # in it already, or a line's end, or no number, then leads nowhere. By
other rules it reads the number in the file's name (and, of imgCIF, in its path): where that is another one, it would
open another image, of which it says nothing.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

MOST_NAMES: Final = 100  # of as many files that a process may have open; older links are removed
FOLDER_VARIABLE: Final = "PLAZA_DIALS_LINKS"
"""Names a DIALS process's folder of links, which is made when it's needed and removed by who has started the process.

So none is left behind by a process that crashes or is killed.
"""

_LARGEST_NUMBER: Final = 2**31 - 1  # of an image, to dxtbx

_SUFFIXES = re.compile(r"(\.[A-Za-z]\w{0,7}){0,2}\Z", re.ASCII)
_links: OrderedDict[str, Path] = OrderedDict()


def plain_name(file: str) -> str:
    """Return a name of a file with one image that dxtbx understands: its own, or that of a symbolic link to it."""
    if _is_plain(file):
        return file
    if file not in _links:
        _links[file] = _make_link(file)
        while len(_links) > MOST_NAMES:
            shutil.rmtree(_links.popitem(last=False)[1].parent, ignore_errors=True)
    _links.move_to_end(file)
    return str(_links[file])


def _is_plain(file: str) -> bool:
    from dxtbx.model.scan_helpers import scan_helper_image_files
    from dxtbx.sequence_filenames import template_regex

    template, number = template_regex(file)
    if template is None or number > _LARGEST_NUMBER or "#" in file or len(file.splitlines()) > 1:
        return False
    paths = file, os.path.basename(file)  # noqa: PTH119 - once an image
    try:
        return all(scan_helper_image_files.image_to_index(path) == number for path in paths)
    except ValueError:  # it finds none
        return False


def _make_link(file: str) -> Path:
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:16]
    suffixes = _SUFFIXES.search(file)
    # A folder for each: dxtbx looks for other images of the template
    folder = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=_folder()))
    # Where there's no suffix, dxtbx knows a number by the point before it
    link = folder / (f"image_0001{suffixes[0]}" if suffixes and suffixes[0] else "image.0001")
    link.symlink_to(Path(file).absolute())
    return link


def new_folder() -> Path:
    """Choose where a process that is to be started may have its folder of links."""
    return Path(tempfile.gettempdir(), f"plaza-names-{uuid4().hex}")


@cache
def _folder() -> Path:
    folder = Path(os.environ.get(FOLDER_VARIABLE) or new_folder())
    folder.mkdir(mode=0o700)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # who should do it may have been killed
    return folder
