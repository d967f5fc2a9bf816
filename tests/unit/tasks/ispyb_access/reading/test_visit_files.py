"""What users put into their visit's folder, and what is done about files that are no good."""

import logging
import os
import subprocess
import sys
import threading
import time
from hashlib import sha1

import pytest

from tasks.ispyb_access.reading.visit.files import (
    FileAccess,
    PDBRow,
    VisitFilesUnavailable,
    Wanted,
    find_visit_files,
)

CELL = (57.8, 57.8, 150.2, 90.0, 90.0, 90.0)
CELL_TEXT = "ispyb_unit_cell: [57.8, 57.8, 150.2, 90, 90, 90]\n"
PARTS = ("Lys", "x1", "lys_1_#####.cbf")


@pytest.fixture
def processing(tmp_path):
    folder = tmp_path / "mx12345-1" / "processing"
    folder.mkdir(parents=True)
    return folder


def look(processing, access=FileAccess.FULL, limit_s=10.0, **wanted):
    defaults = {"visit_directory": str(processing.parent), "parts": PARTS, "crystal": True, "groups": True}
    return find_visit_files(Wanted(**defaults | wanted), access, limit_s)


@pytest.mark.parametrize(
    ("name", "is_read"),
    [
        ("lys.yml", True),
        ("LYS.yaml", True),
        ("x1.yml", True),
        ("lys_1_#####.cbf.yml", True),  # a component of the path is the whole name of the files
        ("lys_1.yml", False),
        ("x.yml", False),
        ("mx12345-1.yml", False),  # the visit is above
        ("lys.txt", False),
    ],
)
def test_file_is_named_as_a_part_of_the_path(processing, name, is_read):
    (processing / name).write_text(CELL_TEXT)
    assert look(processing).unit_cell == (CELL if is_read else None)


@pytest.mark.parametrize(
    ("text", "group", "cell", "warning"),
    [
        (CELL_TEXT + "ispyb_space_group: P41212\n", "P41212", CELL, ""),
        ("ispyb_space_group: P 43 21 2\n", "P 43 21 2", None, ""),
        ("ispyb_space_group: 96\n", "96", None, ""),
        ("ispyb_unit_cell: 57.8, 57.8, 150.2, 90, 90, 90\n", "", CELL, ""),
        ("ispyb_unit_cell: 57.8 57.8 150.2 90 90 90\n", "", CELL, ""),
        (CELL_TEXT + "ispyb_space_group: P99\n", "", CELL, "expected a space group, seen 'P99'"),
        ("ispyb_unit_cell: [1, 2, 3]\nispyb_space_group: P1\n", "P1", None, "seen [1, 2, 3]"),
        ("ispyb_unit_cell: [1, 2, 3, 90, 90, 180]\n", "", None, "ispyb_unit_cell is left out"),
        ("ispyb_unit_cell: [1, 2, -3, 90, 90, 90]\n", "", None, "ispyb_unit_cell is left out"),
        ("ispyb_unit_cell: [1, 2, .inf, 90, 90, 90]\n", "", None, "ispyb_unit_cell is left out"),
        ("ispyb_unit_cell: [1, 2, [3], 90, 90, 90]\n", "", None, "ispyb_unit_cell is left out"),
        ("ispyb_unit_cell: [1, 2, 1e9999, 90, 90, yes]\n", "", None, "ispyb_unit_cell is left out"),
        ("ispyb_unit_cell: a,b,c,d,e,f\n", "", None, "ispyb_unit_cell is left out"),
        ("ispyb_unit_cell: {a: 1}\n", "", None, "ispyb_unit_cell is left out"),
        ("ispyb_space_group: [P1]\n", "", None, "ispyb_space_group is left out"),
        ("ispyb_space_group: yes\n", "", None, "ispyb_space_group is left out"),
        ("something: else\n", "", None, ""),
        ("", "", None, ""),
        ("- ispyb_unit_cell\n", "", None, "expected `ispyb_unit_cell"),
        ("just text", "", None, "expected `ispyb_unit_cell"),
        ("a: [1\nb: }", "", None, "can't be read as YAML"),
        ("!!python/object/apply:os.system [ls]", "", None, "can't be read as YAML"),
        ("x: \x07", "", None, "can't be read as YAML"),
        ("# " + 300_000 * "x", "", None, "at most 256 kB"),
    ],
)
def test_what_makes_no_sense_is_warned_of_and_left_out(processing, caplog, text, group, cell, warning):
    (processing / "lys.yml").write_text(text)
    found = look(processing)
    assert (found.space_group, found.unit_cell) == (group, cell)
    assert warning in caplog.text
    assert bool(caplog.records) == bool(warning)


def test_first_file_that_can_be_read_wins(processing):
    (processing / "lys.yml").write_text("a: [")
    (processing / "x1.yaml").write_text("ispyb_space_group: P1")
    (processing / "x1.yml").write_text("ispyb_space_group: P2")
    assert look(processing).space_group == "P2"


def test_file_that_is_not_utf8_is_left_out(processing, caplog):
    (processing / "lys.yml").write_bytes(b"ispyb_space_group: \xff\xfe\n")
    assert look(processing).space_group == ""
    assert "can't be read as YAML" in caplog.text


def test_folder_with_the_name_of_a_file_is_left_out(processing, caplog):
    (processing / "lys.yml").mkdir()
    (processing / "sample_groups.yml").mkdir()
    assert look(processing).groups == ()
    assert len(caplog.records) == 2


def test_files_that_nobody_wants_are_not_read(processing, caplog):
    for name in ("lys.yml", "sample_groups.yml"):
        (processing / name).write_text("a: [")
    look(processing, crystal=False, groups=False)
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("- [x1, x2]\n- [y1]\n", (("x1", "x2"),)),
        ("- [x1, x2]\n- [Lys, x1]\n", (("x1", "x2"), ("Lys", "x1"))),
        ("- [lys]\n", ()),  # names of folders differ by case
        ("- [1, x1]\n", (("1", "x1"),)),
        ("- []\n", ()),
        ("", ()),
    ],
)
def test_sample_groups_are_those_with_a_folder_of_the_path(processing, caplog, text, groups):
    (processing / "sample_groups.yml").write_text(text)
    assert look(processing).groups == groups
    assert not caplog.records


@pytest.mark.parametrize("text", ["- x1\n", "x1: [x2]\n", "- [x1\n", "- [x1]\n- x1\n", "5"])
def test_sample_groups_that_are_no_list_of_lists_are_warned_of(processing, caplog, text):
    (processing / "sample_groups.yml").write_text(text)
    assert look(processing).groups == ()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_models_and_geometry_of_the_visit_are_found(processing):
    models = processing / "pdb"
    models.mkdir()
    for name in ("b.pdb", "a.pdb", "notes.txt", "a.cif"):
        (models / name).write_text("ATOM")
    (models / "folder.pdb").mkdir()
    (processing / "reference_geometry.expt").write_text("{}")
    found = look(processing)
    assert [model.model_dump() for model in found.pdb] == [
        {"code": None, "filepath": str(models / name), "source": None} for name in ("a.pdb", "b.pdb")
    ]
    assert found.reference_geometry == str(processing / "reference_geometry.expt")


def test_visit_without_files_has_none(tmp_path):
    found = look(tmp_path / "nowhere" / "processing")
    assert (found.pdb, found.reference_geometry, found.unit_cell, found.groups) == ([], None, None, ())


def row(name="model.pdb", contents="ATOM Å", code=None):
    return PDBRow(5, name, contents, code, "AlphaFold")


def test_contents_of_a_model_are_written_once(processing):
    path = processing.parent / "tmp" / "pdb" / sha1("ATOM Å".encode()).hexdigest() / "model.pdb"
    first = look(processing, pdb_rows=[row()])
    assert [model.model_dump() for model in first.pdb] == [{"code": None, "filepath": str(path), "source": "AlphaFold"}]
    assert path.read_text(encoding="utf-8") == "ATOM Å"
    written = path.stat().st_mtime_ns
    assert look(processing, pdb_rows=[row()]).pdb == first.pdb
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == ["model.pdb"]


def test_looking_writes_nothing(processing):
    found = look(processing, FileAccess.READ, pdb_rows=[row()])
    assert found.pdb == look(processing, FileAccess.NONE, pdb_rows=[row()]).pdb
    assert found.pdb[0].filepath.endswith("/model.pdb")
    assert not (processing.parent / "tmp").exists()


@pytest.mark.parametrize(
    ("pdb_row", "code", "warning"),
    [
        (row(code="1abc"), "1abc", None),
        (row(code=" 1ABC "), "1ABC", None),
        (row(code="1ab", contents=None), None, "'1ab': expected four letters or digits"),
        (row(code="1a-c", contents=""), None, "'1a-c': expected"),
        (row(code="", contents=""), None, None),
        (row(code=None, contents=None), None, None),
        (row(name=None), None, "expected the name of a file, seen None"),
        (row(name=""), None, "seen ''"),
        (row(name=".."), None, "seen '..'"),
        (row(name="../../x.pdb"), None, "seen '../../x.pdb'"),
        (row(name="x\0.pdb"), None, r"seen 'x\x00.pdb'"),
        (row(name=300 * "x"), None, "File name too long"),
    ],
)
def test_models_in_ispyb_have_a_code_or_a_file_name(processing, caplog, pdb_row, code, warning):
    found = look(processing, pdb_rows=[pdb_row])
    assert [model.code for model in found.pdb] == ([code] if code else [])
    assert (warning or "") in caplog.text
    assert bool(caplog.records) == bool(warning)


def test_wrong_code_beside_contents_leaves_the_contents(processing, caplog):
    found = look(processing, pdb_rows=[row(code="x")])
    assert found.pdb[0].filepath.endswith("/model.pdb")
    assert "'x': expected four" in caplog.text


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written_leaves_the_model_out(processing, caplog):
    processing.parent.chmod(0o555)
    assert look(processing, pdb_rows=[row()]).pdb == []
    assert "can't be written" in caplog.text


def test_file_in_the_place_of_the_folder_leaves_the_model_out(processing, caplog):
    (processing.parent / "tmp").write_text("")
    assert look(processing, pdb_rows=[row(), row(code="1abc")]).pdb[0].code == "1abc"
    assert "can't be written" in caplog.text


def test_model_without_a_visit_folder_is_left_out(caplog):
    wanted = Wanted(visit_directory=None, parts=(), crystal=True, groups=True, pdb_rows=[row(), row(code="1abc")])
    assert [model.code for model in find_visit_files(wanted, FileAccess.FULL).pdb] == ["1abc"]
    assert "no image directory" in caplog.text


@pytest.mark.parametrize("name", ["lys.yml", "sample_groups.yml"])
def test_file_that_hangs_is_given_up(processing, name):
    os.mkfifo(processing / name)
    begin = time.monotonic()
    with pytest.raises(VisitFilesUnavailable, match=r"within 0\.2 s.*file system answers"):
        look(processing, limit_s=0.2)
    assert time.monotonic() - begin < 30
    _release(processing / name)


def _release(fifo):
    """Let the thread that hangs go on: the others of this test session are no business of its."""
    os.close(os.open(fifo, os.O_WRONLY))
    for thread in threading.enumerate():
        if thread.name == "time-limited":
            thread.join(60)


def test_process_ends_although_a_file_hangs(processing):
    os.mkfifo(processing / "lys.yml")
    program = (
        "from tasks.ispyb_access.reading.visit.files import *\n"
        f"wanted = Wanted({str(processing.parent)!r}, {PARTS!r}, True, True)\n"
        "try:\n"
        "    find_visit_files(wanted, FileAccess.FULL, 0.2)\n"
        "except VisitFilesUnavailable:\n"
        "    print('given up')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout == "given up\n"


def test_warnings_are_logged_with_the_context_of_the_run(processing):
    from contextvars import ContextVar

    run, seen = ContextVar("run", default=None), []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(run.get())

    handler, logger = Handler(), logging.getLogger("tasks.ispyb_access.reading.visit.files")
    (processing / "lys.yml").write_text("a: [")
    logger.addHandler(handler)
    run.set("this one")
    try:
        look(processing)
    finally:
        logger.removeHandler(handler)
    assert seen == ["this one"]
