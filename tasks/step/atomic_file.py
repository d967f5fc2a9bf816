"""Files that are whole as soon as they have their name: other programs watch for them."""

import os
from pathlib import Path
from uuid import uuid4

from blocks.home_folder import make_folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary, hidden name beside its place, then rename it; folders are made.

    Raises
    ------
    OSError
        It can't be written; nothing stands under either name.
    """
    make_folder(path.parent)
    # Beside it: a rename is atomic within one file system only. Two writers never share a temporary name.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a rename that outlives its content in a power cut would leave an empty file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def link_atomically(link: Path, target: str, *, overwrite: bool = False) -> bool:
    """Make a symbolic link; what is there of that name is left alone.

    Parameters
    ----------
    overwrite
        A link that leads elsewhere is turned; a real file or folder is left alone even so.

    Returns
    -------
    bool
        Whether the link is there, and leads to the target.

    Raises
    ------
    OSError
        It can't be made.
    """
    try:
        link.symlink_to(target)
    except FileExistsError:
        is_right = link.is_symlink() and os.path.realpath(link) == os.path.realpath(link.parent / target)
        if is_right or not (overwrite and link.is_symlink()):
            return is_right
    else:
        return True
    # There's no call that turns a link in place: unlink and symlink would leave a moment without one.
    temporary = link.with_name(f".{link.name}.{uuid4().hex[:8]}")
    temporary.symlink_to(target)
    temporary.replace(link)
    return True
