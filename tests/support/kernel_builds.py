"""Builds of the kernel other than the installed one: with sanitizers, for another processor."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

from tasks.diffraction.kernel.building import FLAGS, FOLDER, SOURCES, build_name
from tests.support.checkout import CHECKOUT

HAS_COMPILER = shutil.which("gcc") is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()

DRIVER = CHECKOUT / "tests" / "support" / "kernel_driver.c"


def build_extension(folder: Path, *flags: str, sources_in: Path = FOLDER) -> Path:
    """Compile the extension with more flags, under the name that the installed one has."""
    module = folder / "_compiled.abi3.so"
    include = ("-I", sysconfig.get_path("include"), "-I", sysconfig.get_path("platinclude"))
    name = f'-DPLAZA_KERNEL_BUILD="{build_name()}"'
    sources = [str(sources_in / source) for source in SOURCES]
    _run("gcc", "-shared", "-fPIC", *FLAGS, *include, name, *flags, "-o", str(module), *sources, "-lm")
    return module


def build_driver(folder: Path, compiler: str, *flags: str) -> Path:
    """Compile the sources that know nothing of Python, with `kernel_driver.c`."""
    program = folder / "driver"
    sources = [str(FOLDER / source) for source in SOURCES if source != "_compiled.c"]
    _run(compiler, *FLAGS, "-I", str(FOLDER), *flags, "-o", str(program), str(DRIVER), *sources, "-lm")
    return program


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
