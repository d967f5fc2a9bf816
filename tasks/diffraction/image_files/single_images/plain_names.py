"""Names by which dxtbx can open an image file, whatever its own name is.

dxtbx makes a template of the path of a file with one image, in which # stands for digits, and opens what the template
says: a path that has # in it already, or a line's end, or no number, then leads nowhere.
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
    from dxtbx.sequence_filenames import template_regex

    return "#" not in file and len(file.splitlines()) < 2 and template_regex(file)[0] is not None


def _make_link(file: str) -> Path:
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:16]
    suffixes = _SUFFIXES.search(file)
    # A folder for each: dxtbx looks for other images of the template
    folder = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=_folder()))
    link = folder / f"image_0001{suffixes[0] if suffixes else ''}"
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
