"""Nothing is read or written outside arrays, and nothing is done that C leaves undefined: sanitizers say so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.diffraction.kernel.building import FOLDER
from tests.support.checkout import CHECKOUT
from tests.support.kernel_builds import HAS_COMPILER, build_extension

SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")

pytestmark = pytest.mark.skipif(not HAS_COMPILER, reason="gcc or Python's headers aren't installed")


def sanitizer_library(name: str) -> str:
    """Return where gcc has a sanitizer's library, which must be loaded before all else."""
    path = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(path).is_file():
        pytest.skip(f"gcc has no {name}")
    return path


def fuzz(extension: Path, libraries: str, images: int, streams: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "LD_PRELOAD": libraries,
        # Python frees little at its end, and its own allocator would hide where an array ends
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, "-m", "tests.support.kernel_fuzzing", str(extension), str(images), str(streams)]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def libraries():
    return " ".join(map(sanitizer_library, ("libasan.so", "libubsan.so")))


@pytest.fixture(scope="module")
def sanitized(libraries, tmp_path_factory):
    return build_extension(tmp_path_factory.mktemp("sanitized"), *SANITIZERS)


def test_random_images_and_streams_under_sanitizers(sanitized, libraries):
    done = fuzz(sanitized, libraries, images=400, streams=400)
    assert done.returncode == 0, done.stderr
    assert "pixels found" in done.stdout


@pytest.mark.slow
def test_many_random_images_and_streams_under_sanitizers(sanitized, libraries):
    done = fuzz(sanitized, libraries, images=3000, streams=6000)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("strong_pixels.c", "for (ptrdiff_t i = 0; i < width; i++) {  ", "for (ptrdiff_t i = 0; i <= width; i++) {  "),
        ("byte_offset.c", "s->size - next < 2", "s->size - next < 1"),
    ],
)
def test_a_step_outside_would_be_seen(libraries, tmp_path, file, right, wrong):
    sources = shutil.copytree(FOLDER, tmp_path / "sources", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    text = (sources / file).read_text()
    assert right in text
    (sources / file).write_text(text.replace(right, wrong, 1))
    done = fuzz(build_extension(tmp_path, *SANITIZERS, sources_in=sources), libraries, images=100, streams=400)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
