"""A build whose arithmetic isn't DIALS's is refused, by the compiler or when it's imported."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import platform

import pytest

from tests.support.kernel_builds import HAS_COMPILER, build_extension

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_COMPILER, reason="gcc or Python's headers aren't installed"),
]


def load(extension):
    loader = importlib.machinery.ExtensionFileLoader("_compiled", str(extension))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_compiled", loader))
    loader.exec_module(module)
    return module


def test_fast_mathematics_is_not_compiled(tmp_path):
    with pytest.raises(AssertionError, match="arithmetic must be that of IEEE 754"):
        build_extension(tmp_path, "-ffast-math")


def test_what_joins_multiplication_and_addition_is_not_imported(tmp_path):
    has_them = ["-mfma"] if platform.machine() == "x86_64" else []
    extension = build_extension(tmp_path, *has_them, "-ffp-contract=fast")
    with pytest.raises(ImportError, match="fused multiply-add"):
        load(extension)


def test_a_build_like_the_installed_one_is_imported(tmp_path):
    assert load(build_extension(tmp_path)).scratch_size(100) > 0
