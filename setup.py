"""Compile the spot finder's kernel; all else is in pyproject.toml.

It's optional: without a compiler Plaza is installed all the same, finds spots by DIALS's own threshold, and says so in
`plaza status`.
"""

import runpy
from pathlib import Path

from setuptools import Extension, setup

kernel = Path("tasks/diffraction/kernel")  # setuptools wants paths relative to this file, where it runs it
building = runpy.run_path(str(kernel / "building.py"))

setup(
    ext_modules=[
        Extension(
            "tasks.diffraction.kernel._compiled",
            sources=[str(kernel / name) for name in building["SOURCES"]],
            depends=[str(kernel / name) for name in (*building["HEADERS"], "building.py")],
            define_macros=[("PLAZA_KERNEL_BUILD", f'"{building["build_name"]()}"')],
            extra_compile_args=list(building["FLAGS"]),
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
