"""Files of one image each that are in the making, damaged, or none at all."""

import bz2
import errno
import gzip
import os
import socket
import threading
import time

import pytest

from blocks.errors import PassingFault
from tasks.diffraction.requests import AnalysisParameters, ImageRequest
from tests.support.image_files import MINI_HEADER, make_cbf, make_smv

pytestmark = pytest.mark.dials

LONG_AGO = 1_700_000_000
CBF, SMV = make_cbf(), make_smv()


@pytest.fixture(scope="module")
def analyse():
    from tasks.diffraction.analyser import Analyser

    return Analyser(AnalysisParameters().options).analyse


@pytest.fixture(scope="module")
def analyse_by_dials():
    from tasks.diffraction.analyser import Analyser

    options = AnalysisParameters().options
    return lambda file: Analyser(options).examine(ImageRequest(file, options, by_dials="a test")).statistics


@pytest.fixture
def refusal(analyse, tmp_path):
    """Return the error at a file of some name and content, last written to long ago, or right now."""
    from tasks.diffraction.errors import ImageUnreadable

    def refusal(name, content, is_old=True):
        file = tmp_path / name
        file.write_bytes(content)
        if is_old:
            os.utime(file, (LONG_AGO, LONG_AGO))
        with pytest.raises(ImageUnreadable, match=str(file)) as caught:
            analyse(str(file))
        return caught.value

    return refusal


@pytest.fixture
def _touched_long_ago(monkeypatch):
    """Nobody can set the time at which a file was touched."""
    from tasks.diffraction.image_files.single_images import completeness

    monkeypatch.setattr(completeness, "TOUCHED_S", 0.0)


def flip(content, place):
    """Return the content with one bit of a byte flipped."""
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


BZIP2 = bz2.compress(CBF)

INCOMPLETE = {
    "a_1.cbf": (CBF[:3000], "of the 94,965 bytes that X-Binary-Size promises"),
    "zeros.cbf": (CBF[:3000].ljust(len(CBF), b"\0"), "aren't those of its Content-MD5"),
    "header.cbf": (CBF[:500], "before the binary section"),
    "start.cbf": (b"###C", "it ends after 4 bytes of its header"),
    "empty.cbf": (b"", "it's empty"),
    "blank.cbf": (bytes(5000), "zeros"),
    "a.cbf.gz": (gzip.compress(CBF)[:-1000], "as a compressed file"),
    "zeros.cbf.gz": (gzip.compress(CBF)[:-1000].ljust(5000, b"\0"), "as a compressed file"),
    "blank.cbf.gz": (bytes(5000), "as a compressed file"),
    "empty.cbf.gz": (b"", "it's empty"),
    "a.cbf.bz2": (bz2.compress(CBF)[:-1000], "as a compressed file"),
    "start.cbf.bz2": (flip(BZIP2, 60), "as a compressed file"),
    "middle.cbf.bz2": (flip(BZIP2, len(BZIP2) // 2), "as a compressed file"),
    "end.cbf.bz2": (flip(BZIP2, len(BZIP2) - 3), "as a compressed file"),
    "start.img.bz2": (flip(bz2.compress(SMV), 60), "as a compressed file"),
    "packed.cbf.bz2": (bz2.compress(CBF[:3000]), "of the 94,965 bytes that X-Binary-Size promises"),
    "a_1.img": (SMV[:3000], "it has 3,000 of the 6,512 bytes that its header promises"),
    "a.img.gz": (gzip.compress(SMV[:3000]), "it has 3,000 of the 6,512 bytes that its header promises"),
    "zeros.img": (SMV[:3000].ljust(len(SMV), b"\0"), "its last 1,628 bytes are zeros"),
    "header.img": (SMV[:100], "it ends after 100 bytes of its header"),
    "empty.mccd": (b"", "it's empty"),
    "start.mccd": (b"II*\0\x08\0\0\0", "it ends after 8 bytes of its header"),
}


@pytest.mark.usefixtures("_touched_long_ago")
@pytest.mark.parametrize(("name", "content", "reason"), [(n, *case) for n, case in INCOMPLETE.items()], ids=INCOMPLETE)
def test_incomplete_file_is_waited_for_while_it_is_young_and_refused_when_it_is_old(name, content, reason, refusal):
    young, old = refusal(name, content, is_old=False), refusal(name, content)
    assert reason in str(young)
    assert reason in str(old)
    assert isinstance(young, PassingFault)
    assert not isinstance(old, PassingFault)


def test_folder_is_listed_for_a_name_that_a_network_file_system_does_not_know_yet(analyse, tmp_path, monkeypatch):
    file = tmp_path / "a_1.cbf"
    file.write_bytes(CBF)
    stat, scandir, known = os.stat, os.scandir, set()

    def stat_of_a_late_client(path, *args, **kwargs):
        if str(path) == str(file) and str(tmp_path) not in known:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return stat(path, *args, **kwargs)

    def list_folder(path):
        known.add(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "stat", stat_of_a_late_client)
    monkeypatch.setattr(os, "scandir", list_folder)
    assert analyse(str(file)).n_spots_total == 0


def test_file_whose_date_is_in_the_future_is_young(analyse, tmp_path):
    file = tmp_path / "a_1.cbf"
    file.write_bytes(CBF[:3000])
    os.utime(file, (time.time() + 3600,) * 2)  # its server's clock is ahead
    with pytest.raises(PassingFault):
        analyse(str(file))


def test_file_with_an_old_date_is_waited_for_until_nobody_has_touched_it_for_a_while(analyse, tmp_path, monkeypatch):
    from tasks.diffraction.errors import ImageUnreadable
    from tasks.diffraction.image_files.single_images import completeness

    def sleep(_):
        raise AssertionError("a DIALS process has better things to do")

    monkeypatch.setattr(time, "sleep", sleep)
    file = tmp_path / "a_1.cbf"
    file.write_bytes(CBF[:3000])
    os.utime(file, (LONG_AGO, LONG_AGO))  # as a copy in the making may have it
    with pytest.raises(PassingFault, match=r"can't read .* yet"):
        analyse(str(file))
    now = time.time()
    monkeypatch.setattr(completeness.time, "time", lambda: now + completeness.TOUCHED_S)
    with pytest.raises(ImageUnreadable, match="It was last written at 2023") as caught:
        analyse(str(file))
    assert not isinstance(caught.value, PassingFault)


@pytest.mark.usefixtures("_touched_long_ago")
def test_file_with_an_old_date_that_changes_while_it_is_looked_at_is_waited_for(analyse, tmp_path, monkeypatch):
    from tasks.diffraction.image_files.single_images import completeness

    file = tmp_path / "a_1.cbf"
    file.write_bytes(CBF[:3000])
    os.utime(file, (LONG_AGO, LONG_AGO))
    find_missing = completeness.find_missing

    def look_then_grow(content):
        missing = find_missing(content)
        with file.open("ab") as opened:
            opened.write(CBF[3000:3500])
        os.utime(file, (LONG_AGO, LONG_AGO))
        return missing

    monkeypatch.setattr(completeness, "find_missing", look_then_grow)
    with pytest.raises(PassingFault):
        analyse(str(file))


def test_file_is_analysed_once_it_is_complete(analyse, tmp_path):
    for name, part, whole in (
        ("a_1.cbf", CBF[:3000], CBF),
        ("a_1.img", SMV[:3000], SMV),
        ("b_1.cbf", bytes(9000), CBF),
    ):
        file = tmp_path / name
        file.write_bytes(part)
        with pytest.raises(PassingFault):
            analyse(str(file))
        file.write_bytes(whole)
        assert analyse(str(file)).n_spots_total >= 0


def test_what_has_no_digest_or_no_pedestal_is_taken_as_it_is(analyse, tmp_path):
    import numpy as np

    blank = np.zeros((195, 487), dtype=np.int32)
    for name, content in (
        ("a_1.cbf", make_cbf(digest=None, pixels=blank)),
        ("b_1.cbf", make_cbf(digest=None, end=False)),
        ("c_1.img", make_smv(pixels=blank[:50, :60], IMAGE_PEDESTAL=None)),
    ):
        (tmp_path / name).write_bytes(content)
        assert analyse(str(tmp_path / name)).n_spots_total == 0


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "a_1.cbf",
            make_cbf(MINI_HEADER.replace("# Detector_distance 0.15000 m\n", "")),
            "line Detector_distance is miss",
        ),
        (
            "a_1.cbf",
            make_cbf(MINI_HEADER.replace("0.97950", "?")),
            r"line Wavelength of its header can't be used: '\? A'",
        ),
        (
            "a_1.cbf",
            make_cbf(MINI_HEADER.replace("0.97950", "0.0")),
            r"line Wavelength of its header can't be used: '0",
        ),
        ("a_1.cbf", CBF.replace(b"Second-Dimension: 195", b"Second-Dimension: 194"), "has 487 × 194 pixels"),
        ("a_1.img", make_smv(DISTANCE=None), "line DISTANCE is missing from its header"),
        ("a_1.img", make_smv(WAVELENGTH="red"), "line WAVELENGTH of its header can't be used: 'red'"),
        ("a_1.cbf", b"<html>not found</html>", "its 22 bytes are text that begins with '<html>"),
        ("a_1.img", b"\x89PNG\r\n\x1a\n" + bytes(range(100)), "a PNG picture"),
    ],
)
def test_refusal_names_what_is_wrong_at_once(name, content, reason, refusal):
    import re

    error = refusal(name, content, is_old=False)
    assert not isinstance(error, PassingFault)
    assert re.search(reason, str(error))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("Count_cutoffs", "line Count_cutoffs is missing from its header"),
        ("Wavelength", "nothing is found there by the name 'Wavelength'"),  # the header has that line
        ("sensors/17", "nothing is found there by the name 'sensors/17'"),
        (
            "Unable to open object (object 'omega' doesn't exist)",
            "Unable to open object (object 'omega' doesn't exist)",
        ),
    ],
)
def test_only_what_a_header_lacks_is_told_as_a_line_of_it(refusal, key, reason, monkeypatch):
    from dxtbx.format.FormatCBFMini import FormatCBFMini

    def look_up(*_):
        return {}[key]

    monkeypatch.setattr(FormatCBFMini, "_detector", look_up)
    assert str(refusal("a_1.cbf", CBF)).endswith(f"1.cbf: {reason}")


def test_what_is_no_file_is_refused_without_waiting_for_its_other_end(analyse, tmp_path, monkeypatch):
    from tasks.diffraction.errors import ImageUnreadable

    os.mkfifo(tmp_path / "a_1.cbf")
    (tmp_path / "folder.cbf").mkdir()
    (tmp_path / "link.nxs").symlink_to(tmp_path / "a_1.cbf")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # a socket's path may have a hundred characters
        listener.bind("b_1.cbf")
        for name, kind in (
            (str(tmp_path / "a_1.cbf"), "a pipe"),
            (str(tmp_path / "link.nxs"), "a pipe"),
            (str(tmp_path / "folder.cbf"), "a folder"),
            (str(tmp_path / "b_1.cbf"), "a socket"),
            ("/dev/zero", "a device"),
        ):
            with pytest.raises(ImageUnreadable, match=f"{name} is {kind}"):
                analyse(name)


@pytest.mark.parametrize("name", ["a\0b.cbf", "x" * 300 + ".cbf", "loop.cbf"])
def test_name_that_no_file_can_have_is_refused(analyse, name, tmp_path):
    from tasks.diffraction.errors import ImageUnreadable

    (tmp_path / "loop.cbf").symlink_to(tmp_path / "loop.cbf")
    with pytest.raises(ImageUnreadable, match="can't be read"):
        analyse(str(tmp_path / name))


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EAGAIN, errno.ENOLCK, errno.EINTR, errno.EBUSY])
@pytest.mark.parametrize("call", ["stat", "open", "read", "dxtbx opens", "models", "dials"])
def test_fault_of_the_system_that_may_pass_is_waited_for_wherever_it_happens(
    analyse, analyse_by_dials, number, call, tmp_path, monkeypatch
):
    from dxtbx.format.Format import Format
    from dxtbx.format.FormatCBFMini import FormatCBFMini

    from tasks.diffraction.image_files.single_images import content

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    def fail_in_words(*_, **__):
        raise RuntimeError(f"cbf_read: {os.strerror(number)}")

    file = tmp_path / "a_1.cbf"
    file.write_bytes(CBF)
    match call:
        case "stat":
            from tasks.diffraction.image_files.single_images import completeness

            monkeypatch.setattr(completeness, "_look_at", fail)
        case "open":
            monkeypatch.setattr(content, "open_regular", fail)
        case "read":
            monkeypatch.setattr(content.ImageContent, "_read", fail)
        case "dxtbx opens":
            monkeypatch.setattr(Format, "open_file", fail)
        case "models":
            monkeypatch.setattr(FormatCBFMini, "_detector", fail_in_words)
        case "dials":
            monkeypatch.setattr(FormatCBFMini, "get_raw_data", fail_in_words)
    with pytest.raises(PassingFault, match=os.strerror(number)):
        (analyse_by_dials if call == "dials" else analyse)(str(file))


@pytest.mark.parametrize("call", ["open", "dials"])
@pytest.mark.parametrize("name", ["a_1.cbf", "a_1.cbf.gz"])
def test_file_that_is_gone_once_it_was_looked_at_is_missing_for_now(analyse, name, call, tmp_path, monkeypatch):
    from dxtbx.format.Format import Format
    from dxtbx.format.FormatCBFMini import FormatCBFMini

    from tasks.diffraction.errors import ImageMissing

    def gone(*_, **__):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))

    file = tmp_path / name
    file.write_bytes(gzip.compress(CBF) if name.endswith(".gz") else CBF)
    monkeypatch.setattr(*((Format, "open_file") if call == "open" else (FormatCBFMini, "_detector")), gone)
    with pytest.raises(ImageMissing, match=f"{file} does not exist"):
        analyse(str(file))


@pytest.mark.parametrize("code", ["CBF_FILEOPEN", "CBF_FILEREAD"])
def test_fault_of_the_system_of_which_cbflib_says_no_more_is_waited_for(analyse, code, tmp_path, monkeypatch):
    from dxtbx.format.FormatCBFMini import FormatCBFMini

    def fail(*_, **__):
        raise Exception(f"CBFlib Error(s): {code}  ")

    (tmp_path / "a_1.cbf").write_bytes(CBF)
    monkeypatch.setattr(FormatCBFMini, "_detector", fail)
    with pytest.raises(PassingFault, match=f"now: CBFlib Error.*{code}$"):
        analyse(str(tmp_path / "a_1.cbf"))


def test_file_that_is_removed_or_written_to_while_dials_reads_it_is_waited_for(
    analyse, analyse_by_dials, tmp_path, monkeypatch
):
    from dxtbx.format.FormatCBFMini import FormatCBFMini

    file = tmp_path / "a_1.cbf"

    def change(_):
        file.write_bytes(CBF[:100])
        raise RuntimeError("odd")

    for name, way in (("_detector", analyse), ("get_raw_data", analyse_by_dials)):
        file.write_bytes(CBF)
        with monkeypatch.context() as patch:
            patch.setattr(FormatCBFMini, name, change)
            with pytest.raises(PassingFault, match="odd"):
                way(str(file))


def test_names_of_any_kind_are_read(analyse, tmp_path):
    from tasks.diffraction.image_files.opening import open_data_set
    from tasks.diffraction.pictures import bitmaps

    for name in (
        "25% DMSO",
        "{brace}",
        "a b.c d",
        "Kristall ß σ 晶",
        'it\'s "so"',
        "#1",
        "new\nline",
        "a:b?c=d",
        "50%_%04d",
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}_0001.cbf").write_bytes(CBF)
        file = f"{folder}/{name}_0001.cbf"
        assert analyse(file).n_spots_total == 0
        assert bitmaps.read_counts(open_data_set(file), 1).max() > 0


def test_image_that_is_being_written_is_not_read_twice(analyse, tmp_path, monkeypatch):
    """What was checked is what is analysed: a thread cuts the file right after the check."""
    from tasks.diffraction.image_files import opening

    file = tmp_path / "a_1.cbf"
    file.write_bytes(CBF)
    check = opening.require_complete

    def check_then_cut(content):
        check(content)
        cutter = threading.Thread(target=file.write_bytes, args=(CBF[:100],))
        cutter.start()
        cutter.join()

    monkeypatch.setattr(opening, "require_complete", check_then_cut)
    assert analyse(str(file)).n_spots_total == 0
