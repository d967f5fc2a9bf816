"""A single image's models are those that dxtbx makes of it, whatever was read before."""

import shutil

import pytest

from tasks.diffraction.requests import AnalysisParameters, ImageRequest
from tests.support.asking_dials import ask_dials
from tests.support.image_files import MINI_HEADER, make_cbf, make_smv

pytestmark = pytest.mark.dials

EIGER = MINI_HEADER.replace("PILATUS 100K, S/N 99-9999", "Dectris EIGER 1M, S/N E-02-9999")
STILL = MINI_HEADER.replace("Angle_increment 0.5000", "Angle_increment 0.0000")
FURTHER = MINI_HEADER.replace("Detector_distance 0.15000", "Detector_distance 0.25000")


def describe(experiments):
    imageset = experiments[0].imageset
    scan = experiments[0].scan
    return {
        "models": experiments.to_dict(),
        "imageset": type(imageset),
        "format": imageset.get_format_class(),
        "paths": list(imageset.paths()),
        "vendor": imageset.get_vendortype(0),
        "range": imageset.get_array_range(),
        "indices": list(imageset.indices()),
        "offset": scan.get_batch_offset(),
        "epochs": list(scan.get_epochs()),
        "shadow": imageset.has_dynamic_mask(),
        "mask": imageset.external_lookup.mask.data.empty(),
    }


def require_the_same(file):
    from tasks.diffraction.image_files.experiments import read_experiments
    from tasks.diffraction.image_files.opening import _forget_last_file, open_data_set

    ours = describe(open_data_set(str(file)).experiments)
    _forget_last_file()
    theirs = describe(read_experiments(str(file)))
    assert ours == theirs
    return ours


def test_simulated_images_have_the_models_of_dxtbx(pictures):
    for file in (*pictures.rotation_cbfs, *pictures.grid_cbfs):
        require_the_same(file)


@pytest.mark.real_data
def test_real_images_have_the_models_of_dxtbx(real_data):
    files = sorted((*real_data.glob("l_cysteine/*.gz"), *real_data.glob("thaumatin_grid/*_000[1-3].cbf.bz2")))
    assert len(files) == 63
    for file in files:
        require_the_same(file)


def test_models_are_of_the_very_file_when_others_of_its_template_are_of_another_kind(tmp_path):
    """In one folder, in turn: another detector, a still, another distance, another file in the place of one."""
    contents = [make_cbf(lines) for lines in (MINI_HEADER, EIGER, STILL, FURTHER, MINI_HEADER)]
    seen = []
    for number, content in enumerate(contents, 1):
        file = tmp_path / f"a_{number:04d}.cbf"
        file.write_bytes(content)
        seen.append(require_the_same(file))
    assert seen[0]["format"] is not seen[1]["format"]
    (tmp_path / "a_0001.cbf").write_bytes(contents[1])
    assert require_the_same(tmp_path / "a_0001.cbf")["format"] is seen[1]["format"]


@pytest.mark.parametrize("name", ["a_9.cbf", "a_10.cbf", "7.cbf", "a.0815.cbf", "NO2_0100.x.cbf", "a_0000.cbf"])
def test_number_of_an_image_is_that_of_dxtbx(name, tmp_path):
    (tmp_path / name).write_bytes(make_cbf())
    require_the_same(tmp_path / name)


NAMES_THAT_MISLEAD = {
    "0001.5.cbf": "0001.1.cbf",
    "run1.5.cbf": "run1.1.cbf",
    "lyso_1.5.cbf": "lyso_1.1.cbf",
    "run_01.05.cbf": "run_01.01.cbf",
}
"""In which dxtbx finds one number for the collection, another for the image, so that it would read the other file."""


@pytest.mark.parametrize("has_other", [True, False])
@pytest.mark.parametrize("name", NAMES_THAT_MISLEAD)
def test_an_image_is_not_taken_for_another_by_the_number_in_its_name(name, has_other, pictures, tmp_path):
    from tasks.diffraction.analyser import Analyser

    shutil.copy(pictures.rotation_cbfs[0], tmp_path / name)
    if has_other:
        shutil.copy(pictures.rotation_cbfs[1], tmp_path / NAMES_THAT_MISLEAD[name])
    shutil.copy(pictures.rotation_cbfs[0], tmp_path / "plain_0001.cbf")
    wanted = ask_dials(tmp_path / "plain_0001.cbf")
    options = AnalysisParameters().options
    for how in ({}, {"check": True}, {"by_dials": "a test"}):
        analysis = Analyser(options).examine(ImageRequest(str(tmp_path / name), options, **how))
        assert analysis.statistics.as_payload() == wanted
        assert analysis.corrected is None


@pytest.mark.parametrize("name", ["foo", "image_0001", "x:7", "7", "x.1", "x_20261128173658123456789.cbf", ".cbf"])
def test_a_file_may_be_called_anything(name, pictures, tmp_path):
    from tasks.diffraction.analyser import Analyser

    shutil.copy(pictures.rotation_cbfs[0], tmp_path / name)
    options = AnalysisParameters().options
    analysis = Analyser(options).examine(ImageRequest(str(tmp_path / name), options, check=True))
    assert (analysis.by_dials, analysis.corrected) == (None, None)
    assert analysis.statistics.as_payload() == ask_dials(pictures.rotation_cbfs[0])


def test_what_dxtbx_would_read_another_file_for_is_refused(tmp_path, monkeypatch):
    from tasks.diffraction.errors import ImageUnreadable
    from tasks.diffraction.image_files import opening

    for name in ("a_0001.cbf", "a_0002.cbf"):
        (tmp_path / name).write_bytes(make_cbf())
    other = opening.read_experiments_of_image(str(tmp_path / "a_0002.cbf"))
    monkeypatch.setattr(opening, "read_experiments_of_image", lambda file: other)
    with pytest.raises(ImageUnreadable, match=r"DIALS would read .*a_0002.cbf in place of .*a_0001.cbf"):
        opening.open_data_set(str(tmp_path / "a_0001.cbf"))


def test_images_of_other_formats_have_the_models_of_dxtbx(tmp_path):
    (tmp_path / "a_1.img").write_bytes(make_smv())
    require_the_same(tmp_path / "a_1.img")


def test_file_is_decompressed_once(tmp_path, monkeypatch):
    import bz2

    from tasks.diffraction.image_files.data_sets import DataSets

    opened = []

    class Counted(bz2.BZ2File):
        def __init__(self, *arguments, **options):
            opened.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(bz2, "BZ2File", Counted)
    (tmp_path / "a_1.cbf.bz2").write_bytes(bz2.compress(make_cbf()))
    with DataSets().using(str(tmp_path / "a_1.cbf.bz2")) as data_set:
        data_set.read_raw()
        data_set.imageset.get_raw_data(0)
    assert len(opened) == 1
