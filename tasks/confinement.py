"""Write where a path says, and nowhere else, though others own folders on its way.

Who owns a visit may put a link into it that leads elsewhere: to Plaza's own keys, say. What ISPyB or a message says may
have `..` in it. So a path that names a visit's folder stays within that, links and all; one that names none is the
recipe's, and goes where it says. Only what is in Python's own library is needed, for processes that start at once.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

VISIT_NAME = re.compile(r"[a-z]{2}\d+-\d+", re.ASCII)


class LeadsAway(OSError):
    """A path leads out of the folder that it has to stay in."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(errno.EXDEV, reason, str(path))


def is_plain_name(text: str) -> bool:
    """Tell whether a text can be one component of a path, and nothing else."""
    return text not in {"", ".", ".."} and "/" not in text and "\0" not in text


def visit_folders(path: Path) -> list[Path]:
    """Return the folders on a path that are called like a visit.

    There may be several, of which any may be the visit: what is written stays within all of them. Were it the first one
    alone, what leads out of the second would do; were it the last, a link of such a name, that leads anywhere.

    >>> visit_folders(Path("/dls/i03/data/2026/cm1-1/processed/x.json"))
    [PosixPath('/dls/i03/data/2026/cm1-1')]
    """
    parts = enumerate(path.parts[:-1], 1)
    return [Path(*path.parts[:number]) for number, part in parts if VISIT_NAME.fullmatch(part)]


def write_confined(path: Path, content: bytes, also: Sequence[Path] = (), roots: Sequence[Path] | None = None) -> None:
    """Write a file that is whole as soon as it has its name; folders are made.

    A link in its place is replaced, not followed.

    Parameters
    ----------
    also
        Folders to which links on the way may lead, too.
    roots
        Folders that it has to stay in, in each of them; None: the visit's, if the path names one.

    Raises
    ------
    LeadsAway
        The path has `..` in it, or doesn't begin at the root, or leads out of the visit's folder; or to a device.
    OSError
        It can't be written; nothing stands under its name.
    ValueError
        It has a NUL in it.
    """
    with opened_folder(path, also, roots) as folder:
        _require_replaceable(path, folder)
        replace_file(path.name, content, folder)


def link_confined(
    link: Path, target: str, also: Sequence[Path] = (), roots: Sequence[Path] | None = None, *, overwrite: bool = False
) -> bool:
    """Make a symbolic link; what is there of that name is left alone.

    Parameters
    ----------
    also, roots
        See `write_confined`.
    overwrite
        A link that leads elsewhere is turned; a real file or folder is left alone even so.

    Returns
    -------
    bool
        Whether the link is there, and leads to the target.

    Raises
    ------
    LeadsAway
        As when a file is written.
    OSError
        It can't be made.
    """
    with opened_folder(link, also, roots) as folder:
        try:
            os.symlink(target, link.name, dir_fd=folder)
        except FileExistsError:
            is_right = link.is_symlink() and os.path.realpath(link) == os.path.realpath(link.parent / target)
            if is_right or not (overwrite and link.is_symlink()):
                return is_right
        else:
            return True
        # There's no call that turns a link in place: unlink and symlink would leave a moment without one.
        temporary = _temporary_name()
        os.symlink(target, temporary, dir_fd=folder)
        os.replace(temporary, link.name, src_dir_fd=folder, dst_dir_fd=folder)
        return True


def replace_file(name: str, content: bytes, folder: int) -> None:
    """Write a file of an open folder under a temporary, hidden name, then rename it."""
    temporary = _temporary_name()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a rename that outlives its content in a power cut would leave an empty file
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _require_replaceable(path: Path, folder: int) -> None:
    """Refuse to put a file in the place of a device, a pipe or a socket: of /dev/zero, say."""
    with suppress(FileNotFoundError):
        mode = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):  # of a folder the system says so
            raise LeadsAway(path, "there is something else than a file")


def _temporary_name() -> str:
    # Beside the file: a rename is atomic within one file system only. Two writers never share a temporary name. The
    # file's own isn't part of it, which may be as long as names can be.
    return f".plaza-{uuid4().hex[:16]}"


@contextmanager
def opened_folder(path: Path, also: Sequence[Path] = (), roots: Sequence[Path] | None = None) -> Iterator[int]:
    """Open the folder of what is to be written, made if need be, for calls that take a folder's descriptor.

    See `write_confined`. What is written through the descriptor stays there, whatever happens to the path meanwhile.
    """
    if not path.is_absolute():
        raise LeadsAway(path, "expected a path from the root")
    if ".." in path.parts:
        raise LeadsAway(path, "expected a path without `..`")
    wanted = visit_folders(path) if roots is None else roots
    own, others = [os.path.realpath(root) for root in wanted], [os.path.realpath(place) for place in also]
    _require_within(os.path.realpath(path.parent), own, others, path)  # before folders are made
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened(path.parent) as folder:
        if own:
            really = os.readlink(f"/proc/self/fd/{folder}")  # noqa: PTH115 - what it really is
            _require_within(really, own, others, path)
        yield folder


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Open a folder, for calls that take its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _require_within(real: str, roots: Sequence[str], others: Sequence[str], path: Path) -> None:
    left = next((root for root in roots if not _is_within(real, root)), None)
    if left is not None and not any(_is_within(real, place) for place in others):
        raise LeadsAway(path, f"it leads to {real}, out of {left}")


def _is_within(real: str, place: str) -> bool:
    return real == place or real.startswith(place.rstrip("/") + "/")
