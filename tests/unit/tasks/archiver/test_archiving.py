import errno
import logging
import os
import re
import time
import xml.etree.ElementTree as ET

import pytest

from blocks.errors import MessageRefused, NodeRefused, PassingFault
from blocks.settings import Settings
from tasks.archiver import archiving as archiver
from tasks.archiver.archiving import archive_filelist, archive_pattern
from tasks.archiver.files import FileStatus, file_statuses, is_missing_within, split_into_parts
from tasks.archiver.icat_drop_file import DataFile
from tasks.archiver.parameters import is_confidential
from tasks.step.runner import try_step
from tests.support.fake_resources import FakeResources
from tests.support.name_cache import NameCache


@pytest.fixture
def visit(tmp_path):
    folder = tmp_path / "cm1-1" / "raw"
    folder.mkdir(parents=True)
    return folder


def make_images(folder, numbers):
    for number in numbers:
        (folder / f"x_{number:04d}.cbf").write_bytes(b"image")


async def archive(visit, /, end=5, payload=None, allowed=(), **parameters):
    node = {
        "parameters": {
            "visit": "cm1-1",
            "beamline": "i03",
            "pattern": str(visit / "x_%04d.cbf"),
            "pattern-start": "1",
            "pattern-end": str(end),
            **parameters,
        }
    }
    settings = Settings(home=visit, archiver_allowed_industrial_visits=allowed)
    return await try_step(archive_pattern, node, [payload], FakeResources(settings))


async def archive_list(payload, allowed=(), **parameters):
    node = {"parameters": {"visit": "cm1-1", "beamline": "i03", **parameters}}
    return await try_step(archive_filelist, node, [payload], FakeResources(Settings()))


def names(xml):
    return [element.text for element in ET.fromstring(xml).iterfind(".//datafile/name")]


def summary(outcome):
    """What was sent, in order: missing files by number, drop files as (success, failed)."""
    return [
        (
            send.output,
            (send.payload["success"], send.payload["failed"])
            if send.output == "dropfile"
            else [int(re.findall(r"\d+", name)[-1]) for name in send.payload],
        )
        for send in outcome.sent
    ]


@pytest.mark.parametrize(
    ("there", "limit", "sent"),
    [
        ([1, 2, 3, 4, 5], 0, [("dropfile", (5, 0))]),
        ([1, 2, 3], 0, [("missing_files", [4, 5]), ("dropfile", (3, 2))]),
        ([1, 4, 5], 0, [("missing_files_within", [2, 3]), ("missing_files", [2, 3]), ("dropfile", (3, 2))]),
        ([1, 3], 0, [("missing_files_within", [2, 4, 5]), ("missing_files", [2, 4, 5]), ("dropfile", (2, 3))]),
        ([], 0, [("missing_files", [1, 2, 3, 4, 5]), ("all_files_missing", [1, 2, 3, 4, 5]), ("dropfile", (0, 5))]),
        ([1, 2, 3, 4, 5], 5, [("dropfile", (5, 0))]),
        ([1, 2, 3, 4, 5], 2, [("dropfile", (2, 0)), ("dropfile", (2, 0)), ("dropfile", (1, 0))]),
        ([1, 2], 2, [("missing_files", [3, 4, 5]), ("dropfile", (2, 0)), ("dropfile", (0, 3))]),
        (  # the gap is at the border of two parts
            [1, 2, 4, 5],
            2,
            [("missing_files_within", [3]), ("missing_files", [3]), ("dropfile", (2, 0)), ("dropfile", (2, 1))],
        ),
    ],
)
async def test_pattern_tells_what_is_there_and_what_is_missing(there, limit, sent, visit):
    make_images(visit, there)
    outcome = await archive(visit, **{"limit-files": limit})
    assert outcome.refused == []
    assert summary(outcome) == sent


async def test_parts_have_their_own_files_and_drop_files(visit, tmp_path):
    make_images(visit, range(1, 6))
    drop = tmp_path / "drop" / "{visit_id}-{beamline}-{timestamp}{multipart}.xml"
    outcome = await archive(visit, **{"limit-files": 2, "dropfile": str(drop)})
    written = sorted(drop.parent.iterdir())
    assert [re.sub(r"\d{8}-\d{6}", "T", path.name) for path in written] == [
        "cm1-1-i03-T-1.xml",
        "cm1-1-i03-T-2.xml",
        "cm1-1-i03-T-3.xml",
    ]
    assert [path.read_bytes().decode("latin-1") for path in written] == [send.payload["xml"] for send in outcome.sent]
    assert [names(path.read_bytes()) for path in written] == [
        ["x_0001.cbf", "x_0002.cbf"],
        ["x_0003.cbf", "x_0004.cbf"],
        ["x_0005.cbf"],
    ]
    assert ET.fromstring(written[0].read_bytes()).findtext(".//dataset/name") == "raw"


@pytest.mark.parametrize(
    ("parameters", "written"),
    [
        ({"dropfile": "{dropfile_override}"}, None),
        (
            {"dropfile": "{dropfile_override}", "dropfile-dir": "DROP", "dropfile-filename": "{visit_id}.xml"},
            "cm1-1.xml",
        ),
        ({"dropfile": "DROP/{beamline}{multipart}.xml"}, "i03.xml"),
        ({"dropfile": "DROP/first.xml", "dropfile-dir": "DROP", "dropfile-filename": "second.xml"}, "first.xml"),
        ({"dropfile-dir": "DROP"}, None),
        ({"dropfile-queue": "icat"}, None),
    ],
)
async def test_drop_file_goes_where_the_recipe_says(parameters, written, visit, tmp_path):
    make_images(visit, [1])
    parameters = {key: value.replace("DROP", str(tmp_path / "drop")) for key, value in parameters.items()}
    outcome = await archive(visit, end=1, **parameters)
    assert summary(outcome) == [("dropfile", (1, 0))]
    assert [path.name for path in tmp_path.rglob("*.xml")] == ([written] if written else [])


async def test_nothing_to_archive_leaves_no_drop_file(visit, tmp_path):
    outcome = await archive(visit, dropfile=str(tmp_path / "drop.xml"))
    assert outcome.sent[-1].output == "dropfile"
    assert names(outcome.sent[-1].payload["xml"]) == []
    assert not (tmp_path / "drop.xml").exists()


async def test_drop_files_never_take_each_others_place(visit, tmp_path):
    make_images(visit, range(1, 4))
    drop = str(tmp_path / "drop" / "{visit_id}.xml")
    await archive(visit, end=3, dropfile=drop, **{"limit-files": 2})
    await archive(visit, end=3, dropfile=drop, **{"limit-files": 2})
    assert {path.name: names(path.read_bytes()) for path in (tmp_path / "drop").iterdir()} == {
        "cm1-1.xml": ["x_0001.cbf", "x_0002.cbf"],
        "cm1-1_2.xml": ["x_0003.cbf"],
    }


@pytest.mark.parametrize(
    "folder", ["25% DMSO", "50%glycerol", "100%%", "run%d", "{soak}", "{{", "<&>", "new\nline\r", "Größe", "\u202e結晶"]
)
async def test_folders_are_archived_whatever_they_are_called(folder, visit, tmp_path):
    raw = visit / folder
    raw.mkdir()
    make_images(raw, [1, 2])
    drop = {"dropfile-dir": f"{tmp_path}/drop/{folder}", "dropfile-filename": "{visit_id}-{beamline}{multipart}.xml"}
    outcome = await archive(raw, end=2, **drop)
    assert summary(outcome) == [("dropfile", (2, 0))]
    xml = ET.fromstring((tmp_path / "drop" / folder / "cm1-1-i03.xml").read_bytes())
    assert [element.text for element in xml.iterfind(".//location")] == [str(raw / f"x_000{n}.cbf") for n in (1, 2)]
    assert xml.findtext(".//dataset/name") == f"raw/{folder}"


async def test_known_fields_of_a_drop_folder_are_filled_in(visit, tmp_path):
    make_images(visit, [1])
    folder = f"{tmp_path}/{{visit_id}}/{{soak}}/{{beamline:>5}}"
    await archive(visit, end=1, **{"dropfile-dir": folder, "dropfile-filename": "drop.xml"})
    assert (tmp_path / "cm1-1" / "{soak}" / "  i03" / "drop.xml").exists()


async def test_files_are_archived_though_their_absence_is_remembered(visit, tmp_path, monkeypatch):
    """By a network file system's client."""
    NameCache(tmp_path, monkeypatch)
    assert not (visit / "x_0002.cbf").exists()
    make_images(visit, [1, 2])
    assert summary(await archive(visit, end=2)) == [("dropfile", (2, 0))]


async def test_resumed_message_goes_on_where_it_says(visit, tmp_path):
    make_images(visit, range(1, 6))
    payload = {"archive-multipart": 3, "archive-pattern-start": 4}
    outcome = await archive(visit, payload=payload, dropfile=str(tmp_path / "drop{multipart}.xml"))
    assert names(outcome.sent[0].payload["xml"]) == ["x_0004.cbf", "x_0005.cbf"]
    assert (tmp_path / "drop-3.xml").exists()


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"visit": "{ispyb_visit}"}, "visit"),
        ({"pattern": "/data/x.cbf"}, "one field"),
        ({"pattern": "/data/%d_%d.cbf"}, "one field"),
        ({"pattern": "{directory}/x_%d.cbf"}, "pattern"),
        ({"pattern-start": "None"}, "pattern-start"),
        ({"limit-files": -1}, "limit-files"),
        ({"dropfile": "/tmp/{unknown}.xml"}, "known fields"),
        ({"dropfile": "/tmp/{}.xml"}, "known fields"),
    ],
)
async def test_wrong_parameters_are_refused_with_the_reason(parameters, reason, visit):
    outcome = await archive(visit, **parameters)
    assert outcome.sent == []
    assert reason in str(outcome.refused[0][1])


async def test_unwritable_drop_folder_is_refused(visit, tmp_path):
    make_images(visit, [1])
    (tmp_path / "file").write_text("in the way")
    outcome = await archive(visit, end=1, dropfile=str(tmp_path / "file" / "drop.xml"))
    assert "can't be written" in str(outcome.refused[0][1])


async def test_file_that_cannot_be_read_counts_as_failed(visit, caplog):
    make_images(visit, [1])
    (visit / "loop").symlink_to("loop")
    outcome = await archive_list({"filelist": [str(visit / "x_0001.cbf"), str(visit / "loop")]})
    assert summary(outcome) == [("dropfile", (1, 1))]
    assert "loop" in caplog.text


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ({}, {"could not archive": "WARNING", "failed to archive": "WARNING"}),
        (
            {"log-file-warnings-as-info": True, "log-summary-warning-as-info": "true"},
            {"could not archive": "INFO", "failed to archive": "INFO"},
        ),
    ],
)
async def test_severity_of_log_lines_is_the_recipes(flags, levels, visit, caplog):
    caplog.set_level(logging.INFO)
    (visit / "loop").symlink_to("loop")
    await archive_list({"filelist": [str(visit / "loop")]}, **flags)
    for text, level in levels.items():
        assert [record.levelname for record in caplog.records if record.getMessage().startswith(text)] == [level]


@pytest.mark.parametrize(
    ("payload", "parameters", "label"),
    [
        ({"filelist": [1, 2]}, {}, "-1"),
        ({"filelist": [1, 2]}, {"filelist": [3]}, "-1"),
        ({"other": 1}, {"filelist": [1, 2]}, "-1"),
        ({"filelist": [1, 2], "archive-multipart": 4}, {}, "-4"),
        (None, {"filelist": [1, 2]}, ""),
        ("text", {"filelist": [1, 2]}, ""),
    ],
)
async def test_list_is_taken_from_the_payload_first(payload, parameters, label, visit, tmp_path):
    make_images(visit, [1, 2])

    def with_paths(values):
        if isinstance(values, dict) and "filelist" in values:
            return {**values, "filelist": [str(visit / f"x_{number:04d}.cbf") for number in values["filelist"]]}
        return values

    dropfile = str(tmp_path / "drop{multipart}.xml")
    outcome = await archive_list(with_paths(payload), **with_paths(parameters), dropfile=dropfile)
    assert summary(outcome) == [("dropfile", (2, 0))]
    assert [path.name for path in tmp_path.glob("*.xml")] == [f"drop{label}.xml"]


async def test_list_is_split_without_telling_what_is_missing(visit, tmp_path):
    make_images(visit, [1, 2, 3])
    paths = [str(visit / f"x_{number:04d}.cbf") for number in (1, 9, 2, 3)]
    dropfile = str(tmp_path / "drop{multipart}.xml")
    outcome = await archive_list(None, filelist=paths, dropfile=dropfile, **{"limit-files": 2})
    assert summary(outcome) == [("dropfile", (2, 1)), ("dropfile", (1, 0))]
    assert sorted(path.name for path in tmp_path.glob("*.xml")) == ["drop-1.xml", "drop-2.xml"]


@pytest.mark.parametrize("filelist", [None, [], "/data/x.cbf", {"file": 1}, [None], ["/data/x.cbf", 3], [""]])
async def test_what_is_no_list_of_files_is_refused(filelist):
    outcome = await archive_list({"filelist": filelist})
    assert "expected a list of file names" in str(outcome.refused[0][1])


@pytest.mark.parametrize(
    ("visit_id", "allowed", "confidential"),
    [
        ("in12345-6", (), True),
        ("ic1-1", (), True),
        ("il1-1", (), True),
        ("SW1-1", (), True),
        ("in12345-6", ("IN12345-6",), False),
        ("in12345-6", ("in12345",), False),
        ("in12345-6", ("in",), False),
        ("in12345-6", ("in12345-7", "sw"), True),
        ("mx12345-6", (), False),
    ],
)
def test_industrial_visits_are_confidential_unless_allowed(visit_id, allowed, confidential):
    assert is_confidential(visit_id, allowed) is confidential


@pytest.mark.parametrize(("allowed", "n_sent"), [((), 0), (("in1",), 1)])
async def test_confidential_files_are_not_archived(allowed, n_sent, visit, tmp_path):
    make_images(visit, [1])
    dropfile = tmp_path / "drop.xml"
    outcome = await archive(visit, end=1, allowed=allowed, visit="in1-1", dropfile=str(dropfile))
    assert (len(outcome.sent), len(outcome.refused), dropfile.exists()) == (n_sent, 0, bool(n_sent))


def look(letter):
    """Make a look: x a file that is there, m a missing one, f one that can't be read."""
    errors = {"m": FileNotFoundError("gone"), "f": PermissionError("no")}
    return FileStatus(letter, DataFile(letter, 1, 0)) if letter == "x" else FileStatus(letter, error=errors[letter])


@pytest.mark.parametrize(
    ("seen", "limit", "parts"),
    [
        ("xxxxx", 0, ["xxxxx"]),
        ("xxxxx", 2, ["xx", "xx", "x"]),
        ("xxxx", 2, ["xx", "xx"]),
        ("xmxfx", 2, ["xmx", "fx"]),
        ("mmm", 2, ["mmm"]),
        ("", 2, [""]),
    ],
)
def test_parts_are_limited_by_what_is_there(seen, limit, parts):
    assert ["".join(x.path for x in part) for part in split_into_parts(map(look, seen), limit)] == parts


@pytest.mark.parametrize(
    ("seen", "within"), [("xxmm", False), ("xmx", True), ("mmx", True), ("xfx", False), ("mf", False), ("", False)]
)
def test_gap_is_a_file_after_a_missing_one(seen, within):
    assert is_missing_within(map(look, seen)) is within


def test_missing_is_told_from_unreadable(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    seen = file_statuses([str(tmp_path / "nothing"), str(tmp_path / "loop"), "nul\0"])
    assert [status.is_missing for status in seen] == [True, False, False]


async def test_a_thousand_files_take_no_time(visit):
    make_images(visit, range(1, 1001))
    start = time.perf_counter()
    outcome = await archive(visit, end=1000, **{"limit-files": 1000})
    assert summary(outcome) == [("dropfile", (1000, 0))]
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, PassingFault), (errno.EACCES, MessageRefused)])
async def test_a_full_disk_may_pass_and_a_forbidden_folder_may_not(number, error, visit, tmp_path, monkeypatch):
    def fail(path, content, also):
        raise OSError(number, "no")

    make_images(visit, [1])
    monkeypatch.setattr(archiver, "write_confined", fail)
    outcome = await archive(visit, end=1, dropfile=str(tmp_path / "drop.xml"))
    assert type(outcome.refused[0][1]) is error
    assert str(tmp_path) in str(outcome.refused[0][1])


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir()], ids=["pipe", "folder"])
async def test_what_is_no_file_among_the_images_is_told_of_and_not_archived(visit, caplog, make):
    make_images(visit, [1, 2, 4, 5])
    make(visit / "x_0003.cbf")
    outcome = await archive(visit)
    assert summary(outcome) == [("dropfile", (4, 1))]
    assert "x_0003.cbf" in caplog.text
    assert "no file" in caplog.text


@pytest.mark.parametrize("name", ["../../../elsewhere", "/etc/x", "..", "a\0b", ""])
async def test_visit_that_isnt_a_folders_name_writes_nothing(visit, tmp_path, name):
    make_images(visit, [1])
    outcome = await archive(visit, end=1, visit=name, dropfile=f"{tmp_path}/drop/{{visit_id}}.xml")
    assert [type(error) for _, error in outcome.refused] == [NodeRefused]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cm1-1"]


async def test_drop_file_climbs_out_of_nothing(visit, tmp_path):
    make_images(visit, [1])
    for dropfile in (f"{tmp_path}/drop/../../x.xml", "x.xml"):
        outcome = await archive(visit, end=1, dropfile=dropfile)
        assert "can't be written" in str(outcome.refused[0][1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cm1-1"]


async def test_users_link_in_the_visit_leads_no_drop_file_away(visit, tmp_path):
    make_images(visit, [1])
    keys = tmp_path / "keys"
    keys.mkdir()
    (visit.parent / "processed").symlink_to(keys)
    outcome = await archive(visit, end=1, dropfile=f"{visit.parent}/processed/x.xml")
    assert "out of" in str(outcome.refused[0][1])
    assert list(keys.iterdir()) == []


async def test_pipe_in_the_place_of_a_drop_file_holds_up_nothing(visit, tmp_path):
    make_images(visit, [1])
    os.mkfifo(tmp_path / "x.xml")
    outcome = await archive(visit, end=1, dropfile=f"{tmp_path}/x.xml")
    assert outcome.refused == []
    assert (tmp_path / "x_2.xml").is_file()


@pytest.mark.parametrize("end", [2**31, 2**63, 10**30, 10**400])
async def test_more_files_than_any_collection_has_are_refused_at_once(visit, end):
    outcome = await archive(visit, **{"pattern-end": end})
    assert "at most 1,000,000 files" in str(outcome.refused[0][1])


@pytest.mark.parametrize("number", ["1e999999999", float("inf"), 10**400, "١٢", "1_000", True])
async def test_numbers_of_the_payload_that_are_none_are_refused_at_once(visit, number):
    outcome = await archive(visit, payload={"archive-multipart": number})
    assert "expected a number as the payload's 'archive-multipart'" in str(outcome.refused[0][1])
