"""Files that people name are read as far as they can be recipes."""

import time
from pathlib import Path

import pytest

from blocks.errors import RecipeError
from flows.recipe.language.files import read_text


def test_endless_files_are_refused_at_once(tmp_path):
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(2**40)
    begin = time.monotonic()
    for path in (tmp_path / "sparse.json", Path("/dev/zero")):
        with pytest.raises(RecipeError, match="expected at most 64 MB"):
            read_text(path)
    assert time.monotonic() - begin < 10
    assert read_text(Path("/dev/null")) == ""
