"""Files that people name are read as far as they can be recipes."""

import os
import time
from pathlib import Path

import pytest

from blocks.errors import RecipeError
from flows.recipe.language.files import read_parameters_file, read_text
from flows.recipe.language.names import file_fault


def test_endless_files_are_refused_at_once(tmp_path):
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(2**40)
    begin = time.monotonic()
    with pytest.raises(RecipeError, match="expected at most 64 MB"):
        read_text(tmp_path / "sparse.json")
    with pytest.raises(RecipeError, match="is a device, no file"):
        read_text(Path("/dev/zero"))
    assert time.monotonic() - begin < 10
    assert read_text(Path("/dev/null")) == ""


@pytest.mark.parametrize(
    ("target", "kind"), [("/proc/kmsg", "made up by the kernel"), ("/proc/self/maps", "made up by"), ("pipe", "a pipe")]
)
def test_links_to_what_would_block_are_refused_unread(tmp_path, target, kind):
    os.mkfifo(tmp_path / "pipe")
    recipe = tmp_path / "recipe.json"
    recipe.symlink_to(target)
    for refuse in (read_text, read_parameters_file):
        with pytest.raises(RecipeError, match=f"recipe.json: can't be read: is {kind}"):
            refuse(recipe)
    assert file_fault(recipe)


def test_what_a_shell_has_opened_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"{}")
    os.close(writing)
    try:
        assert read_text(Path(f"/dev/fd/{reading}")) == "{}"
    finally:
        os.close(reading)
