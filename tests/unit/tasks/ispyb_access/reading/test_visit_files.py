"""What users put into their visit's folder, and what is done about files that are no good."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from hashlib import sha1
from pathlib import Path

import psutil
import pytest

from tasks.ispyb_access.reading.visit import looking, looking_process
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
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.symlink_to("/proc/self/environ"), "made up by the kernel"),
    ],
)
def test_what_is_no_file_holds_up_nothing(processing, caplog, name, make, kind):
    make(processing / name)
    (processing / "x1.yml").write_text("ispyb_space_group: P1")
    begin = time.monotonic()
    assert look(processing).space_group == "P1"
    assert kind in caplog.text
    assert time.monotonic() - begin < 5


def test_endless_sparse_file_is_not_read(processing, caplog):
    with (processing / "lys.yml").open("wb") as file:
        file.truncate(2**40)
    assert look(processing).space_group == ""
    assert "at most 256 kB" in caplog.text


HANGS = ("-S", "-P", "-c", "import time; time.sleep(600)")  # as when a file system doesn't answer


def test_process_that_hangs_is_killed_at_the_time_limit(processing, monkeypatch):
    monkeypatch.setattr(looking_process, "PROGRAM", HANGS)
    begin = time.monotonic()
    with pytest.raises(VisitFilesUnavailable, match=r"within 0\.2 s.*file system answers"):
        look(processing, limit_s=0.2)
    assert time.monotonic() - begin < 10
    assert not [child for child in psutil.Process().children() if "time.sleep(600)" in str(child.cmdline())]


def test_no_second_process_beside_one_that_not_even_a_kill_ends(processing, monkeypatch):
    held_up = subprocess.Popen([sys.executable, *HANGS])
    monkeypatch.setattr(looking_process, "_undead", [held_up])
    try:
        with pytest.raises(VisitFilesUnavailable):
            look(processing, limit_s=0.2)
    finally:
        held_up.kill()
        held_up.wait()
    assert look(processing).groups == ()  # once it's gone, all goes on


def test_process_that_dies_is_told_of_with_its_last_words(processing, monkeypatch):
    monkeypatch.setattr(looking_process, "PROGRAM", ("-S", "-c", "raise SystemExit('no memory')"))
    with pytest.raises(VisitFilesUnavailable, match="no memory"):
        look(processing)


def test_process_that_looks_ends_by_itself_when_nobody_waits(processing):
    os.mkfifo(processing / "hangs")
    question = looking.Question(
        visit=str(processing.parent), read=True, names=[], groups=False, write=[], also=[], limit_s=-0.8
    )
    program = (
        "import os, sys; from tasks.ispyb_access.reading.visit import looking\n"
        f"looking.look = lambda question: os.open({str(processing / 'hangs')!r}, os.O_RDONLY)\n"
        "looking.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=json.dumps([question]).encode(), timeout=60)
    assert done.returncode == -signal.SIGALRM


def test_no_more_than_so_many_entries_are_looked_at(processing, caplog, monkeypatch):
    monkeypatch.setattr(looking, "MOST_ENTRIES", 5)
    (processing / "pdb").mkdir()
    for number in range(9):
        (processing / "pdb" / f"{number}.pdb").touch()
    question = looking.Question(
        visit=str(processing.parent), read=True, names=["x1"], groups=True, write=[], also=[], limit_s=10
    )
    found = looking.look(question)
    assert len(found["models"]) == 5
    assert "more than 5 entries" in found["warnings"][0]


def test_names_that_are_no_text_are_left_out_with_a_warning(processing, caplog):
    (processing / "pdb").mkdir()
    for name in (b"a\nb.pdb", b"\xff\xfe.pdb", b"\x1b[31m.pdb", "Å.pdb".encode()):
        with open(os.fsencode(processing / "pdb") + b"/" + name, "w"):  # noqa: PTH123 - a Path can't have such a name
            pass
    assert [model.filepath for model in look(processing).pdb] == [str(processing / "pdb" / "Å.pdb")]
    assert len(caplog.records) == 3
    assert caplog.text.count("\n") == 3
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("planted", ["tmp", "tmp/pdb"])
def test_links_out_of_the_visit_are_not_followed_for_writing(processing, caplog, tmp_path, planted):
    keys = tmp_path / "keys"
    keys.mkdir()
    link = processing.parent / planted
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(keys)
    assert look(processing, pdb_rows=[row()]).pdb == []
    assert "out of" in caplog.text
    assert list(keys.iterdir()) == []


def test_visit_that_is_a_link_itself_is_written_to(processing, tmp_path):
    visit = tmp_path / "mx12345-2"
    visit.symlink_to(processing.parent)
    (model,) = look(visit / "processing", pdb_rows=[row()]).pdb
    assert model.filepath.startswith(str(visit))
    assert Path(model.filepath).is_file()


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
