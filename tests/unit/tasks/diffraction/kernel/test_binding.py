"""The compiled module refuses arrays of other sizes and types than it was promised, before it touches them."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from tasks.diffraction.kernel import building, compiled, why_not_compiled
from tasks.diffraction.kernel.compiled import COMPILED
from tasks.diffraction.kernel.whole_library import size_and_least
from tests.support.kernel_builds import HAS_COMPILER

needs_kernel = pytest.mark.skipif(COMPILED is None, reason=f"the kernel: {why_not_compiled()}")

HEIGHT, WIDTH = 20, 30
READ_ONLY = np.zeros(600, np.int64)
READ_ONLY.flags.writeable = False

# numpy's own refusals, which aren't those of Python's buffers
NOT_IN_A_ROW = (BufferError, ValueError)
MISALIGNED = (TypeError, ValueError)


def arguments(**changed):
    """Return the arguments of `find_strong`, some of them changed."""
    usual = {
        "counts": np.ones((HEIGHT, WIDTH), np.uint16),
        "usable": np.ones((HEIGHT, WIDTH), np.bool_),
        "scratch": np.empty(COMPILED.scratch_size(WIDTH) if COMPILED else 0, np.uint8),
        "found": np.empty(600, np.int64),
        "flags": np.zeros(600, np.uint8),
        "trusted": (0, 65535),
        "parameters": (True, True, 6.0, 3.0, 0.0, 2),
        "processor": None,
    }
    assert changed.keys() <= usual.keys()
    return (usual | changed).values()


@pytest.mark.skipif(not HAS_COMPILER, reason="gcc or Python's headers aren't installed")
def test_where_there_is_a_compiler_the_kernel_is_compiled():
    assert why_not_compiled() is None  # else the other tests of it are skipped, and that isn't seen


@needs_kernel
def test_the_right_arguments_are_taken():
    assert COMPILED.find_strong(*arguments()) == 0


@needs_kernel
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"counts": [[1, 2], [3, 4]]}, TypeError),
        ({"counts": np.ones(600, np.uint16)}, TypeError),
        ({"counts": np.ones((HEIGHT, WIDTH), np.int64)}, TypeError),
        ({"counts": np.ones((HEIGHT, WIDTH), np.float32)}, TypeError),
        ({"counts": np.ones((HEIGHT, WIDTH), ">i4")}, TypeError),
        ({"counts": np.ones((HEIGHT, WIDTH), "u2,u2")}, TypeError),
        ({"counts": np.ones((HEIGHT, 2 * WIDTH), np.uint16)[:, ::2]}, NOT_IN_A_ROW),
        ({"counts": np.ones((0, WIDTH), np.uint16), "usable": np.ones((0, WIDTH), np.bool_)}, ValueError),
        ({"counts": np.ones((HEIGHT, WIDTH + 1), np.uint16)}, ValueError),
        ({"counts": np.zeros(1201, np.uint8)[1:].view(np.uint16).reshape(HEIGHT, WIDTH)}, MISALIGNED),
        ({"usable": np.ones((HEIGHT, WIDTH), np.int16)}, TypeError),
        ({"usable": np.ones((WIDTH, HEIGHT), np.bool_)}, ValueError),
        ({"scratch": np.empty(100, np.uint8)}, ValueError),
        ({"scratch": np.empty(100_001, np.uint8)[1:]}, ValueError),
        ({"scratch": bytes(100_000)}, BufferError),
        ({"found": np.empty(600, np.int32)}, TypeError),
        ({"found": READ_ONLY}, (BufferError, ValueError)),
        ({"flags": np.zeros(599, np.uint8)}, ValueError),
        ({"flags": None}, ValueError),
        ({"trusted": (-1, 100)}, ValueError),
        ({"trusted": (0, 65536)}, ValueError),
        ({"trusted": (7, 6)}, ValueError),
        ({"trusted": (0, 1 << 70)}, OverflowError),
        ({"parameters": (True, True, -1.0, 3.0, 0.0, 2)}, ValueError),
        ({"parameters": (True, True, 6.0, float("nan"), 0.0, 2)}, ValueError),
        ({"parameters": (True, True, 6.0, 3.0, 0.0, 1)}, ValueError),
        ({"parameters": (True, True, 6.0, 3.0, 0.0, 50)}, ValueError),
        ({"processor": "z80"}, ValueError),
    ],
)
def test_wrong_arguments_are_refused(wrong, error):
    with pytest.raises(error):
        COMPILED.find_strong(*arguments(**wrong))


@needs_kernel
@pytest.mark.parametrize("width", [0, -1, 1 << 40])
def test_widths_that_no_image_has_are_refused(width):
    with pytest.raises(ValueError, match="wide"):
        COMPILED.scratch_size(width)


@needs_kernel
def test_no_more_pixels_are_found_than_there_is_room_for():
    counts = np.ones((HEIGHT, WIDTH), np.uint16)
    counts[10:13, 10:13] = 100
    found = np.full(10, -1, np.int64)
    everything = (False, True, 0.0, 0.0, 0.0, 2)
    assert COMPILED.find_strong(*arguments(counts=counts, found=found[:9], parameters=everything)) == 9
    assert COMPILED.find_strong(*arguments(counts=counts, found=found[:8], parameters=everything)) < 0
    assert found[9] == -1


@needs_kernel
@pytest.mark.parametrize(
    ("counts", "error"),
    [
        (np.zeros(4, np.uint32), TypeError),
        (np.zeros((2, 2), np.int32), TypeError),
        (np.zeros(8, np.int32)[::2], NOT_IN_A_ROW),
        (np.zeros(17, np.uint8)[1:].view(np.int32), MISALIGNED),
        (bytes(16), (TypeError, BufferError)),
    ],
)
def test_counts_that_byte_offset_cannot_be_decoded_into_are_refused(counts, error):
    with pytest.raises(error):
        COMPILED.decode_byte_offset(b"\1\2\3\4", counts, None)


def test_a_kernel_of_other_sources_is_not_used(monkeypatch):
    if COMPILED is None:
        pytest.skip(f"the kernel: {why_not_compiled()}")
    monkeypatch.setattr(compiled, "build_name", lambda: "0123456789abcdef")
    module, why = compiled._load()
    assert module is None
    assert "compiled from other sources" in why


def test_without_a_kernel_it_is_said_how_to_compile_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tasks.diffraction.kernel._compiled", None)
    module, why = compiled._load()
    assert module is None
    assert why.startswith("it isn't compiled; with a C compiler ")
    assert "pip install" in why


@needs_kernel
@pytest.mark.parametrize("size", [0, 3, 63, 100, 5_000, 20_000, -1])
def test_a_kernel_whose_file_is_cut_off_is_not_loaded(size, tmp_path, monkeypatch):
    """Loading it would end the process by SIGBUS."""
    cut = tmp_path / "_compiled.so"
    cut.write_bytes(Path(COMPILED.__file__).read_bytes()[:size])
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda _: ModuleSpec("_compiled", None, origin=str(cut)))
    monkeypatch.setattr(compiled.importlib, "import_module", lambda _: pytest.fail("it was loaded"))
    module, why = compiled._load()
    assert module is None
    assert why.startswith(f"its file is cut off ({cut.stat().st_size:,} bytes of ")
    assert "pip install" in why


@needs_kernel
def test_what_is_whole_has_no_more_than_its_tables_say():
    size, least = size_and_least(Path(COMPILED.__file__))
    assert 0 < least <= size


def test_a_library_of_another_system_is_left_to_python(tmp_path):
    file = tmp_path / "_compiled.so"
    file.write_bytes(b"\xcf\xfa\xed\xfe" + bytes(100))
    assert size_and_least(file) == (104, 0)


def test_other_flags_make_another_build(monkeypatch):
    name = building.build_name()
    monkeypatch.setattr(building, "FLAGS", (*building.FLAGS, "-ffast-math"))
    assert building.build_name() != name


def test_dials_is_not_imported_with_the_kernel():
    code = """
import sys
import tasks.diffraction.kernel
assert not {"dials", "dxtbx", "scitbx", "libtbx", "h5py"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
