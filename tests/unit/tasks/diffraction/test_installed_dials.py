"""The version of DIALS is its own, found without importing DIALS."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

from tasks.diffraction import installed_dials
from tasks.diffraction.installed_dials import dials_version


@pytest.fixture(autouse=True)
def _asked_anew():
    dials_version.cache_clear()
    yield
    dials_version.cache_clear()


def pretend_dials_is_in(folder, monkeypatch):
    monkeypatch.setattr(
        installed_dials, "find_spec", lambda name: ModuleSpec(name, None, origin=str(folder / "__init__.py"))
    )


@pytest.mark.dials
def test_version_is_what_dials_version_prints():
    printed = subprocess.run(["dials.version"], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[0] == f"DIALS {dials_version()}"


@pytest.mark.dials
def test_dials_is_not_imported_for_it():
    code = """
import sys
from flows.recipe.run_record.manifest import _versions
assert _versions()["dials"]
assert not {"dials", "dxtbx", "scitbx", "libtbx", "h5py", "numpy"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_there_is_no_version_without_dials(monkeypatch):
    monkeypatch.setattr(installed_dials, "find_spec", lambda name: None)
    assert dials_version() is None


def test_another_version_is_read_from_its_file(tmp_path, monkeypatch):
    (tmp_path / "util").mkdir()
    (tmp_path / "util" / "version.py").write_text("def dials_version():\n    return 'DIALS 3.25.1-g0123456'\n")
    pretend_dials_is_in(tmp_path, monkeypatch)
    assert dials_version() == "3.25.1-g0123456"


def test_dials_that_does_not_say_is_logged(tmp_path, monkeypatch, caplog):
    pretend_dials_is_in(tmp_path, monkeypatch)
    assert dials_version() is None
    assert f"the version of DIALS in {tmp_path / '__init__.py'} can't be found" in caplog.text
