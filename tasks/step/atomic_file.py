"""Files that are whole as soon as they have their name: other programs watch for them."""

from pathlib import Path

from blocks.home_folder import make_folder
from tasks.confinement import opened, replace_file


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of Plaza's own under a temporary, hidden name beside its place, then rename it; folders are made.

    What a recipe, ISPyB or a message names is written by `tasks.confinement.write_confined`.

    Raises
    ------
    OSError
        It can't be written; nothing stands under either name.
    """
    make_folder(path.parent)
    with opened(path.parent) as folder:
        replace_file(path.name, content, folder)
