"""Per-image analysis gives the numbers of DIALS itself."""

import bz2
import gzip
import shutil
from pathlib import Path

import pytest

from tasks.diffraction.requests import AnalysisParameters
from tests.support.asking_dials import ask_dials

pytestmark = pytest.mark.dials

OPTIONS = {
    "defaults": {},
    "extended": {"threshold_algorithm": "dispersion_extended", "filter_ice": False},
    "shells": {"d_min": 3.0, "d_max": 20.0, "ice_rings_width": 0.01, "disable_parallax_correction": False},
    "all resolutions": {"d_max": None},
}


@pytest.fixture(scope="module")
def make_analyser():
    from tasks.diffraction.analyser import Analyser

    return lambda **options: Analyser(AnalysisParameters(**options).options)


@pytest.fixture(scope="module")
def analyser(make_analyser):
    return make_analyser()


@pytest.mark.parametrize(
    "name",
    [
        "25% DMSO/50%d_1.cbf",
        "a#1/x_0001.cbf",
        "a#1_0001.cbf",
        "new\nline_1.cbf",
        "{soak}/[x]*_1.cbf",
        "ü/結晶_1.cbf",
        "x.cbf",
    ],
)
def test_an_image_has_dials_numbers_whatever_it_is_called(pictures, analyser, tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    shutil.copyfile(pictures.rotation_cbfs[0], file)
    assert analyser.analyse(str(file)) == analyser.analyse(pictures.rotation_cbfs[0])
    shutil.copyfile(pictures.rotation_cbfs[3], file)
    assert analyser.analyse(str(file)) == analyser.analyse(pictures.rotation_cbfs[3]), "and written again"


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_images_of_a_rotation_have_dials_numbers(pictures, make_analyser, options):
    analyser = make_analyser(**options)
    for number, file in enumerate(pictures.rotation_cbfs[::2], 1):
        assert analyser.analyse(file).as_payload() == ask_dials(file, **options)
        image = (2 * number - 1, 2 * number - 1)
        master = pictures.rotation_master
        assert analyser.analyse(master, image).as_payload() == ask_dials(master, image, **options)


def test_stills_of_a_grid_scan_have_dials_numbers(pictures, analyser):
    spots = []
    for number, file in enumerate(pictures.grid_cbfs, 1):
        statistics = analyser.analyse(file)
        assert statistics.as_payload() == ask_dials(file)
        image = (number, number)
        from_master = analyser.analyse(pictures.grid_master, image)
        assert from_master.as_payload() == ask_dials(pictures.grid_master, image)
        spots.append(statistics.n_spots_total)
    assert len(set(spots)) > 1


@pytest.mark.parametrize("scan_range", [None, (2, 4)])
@pytest.mark.parametrize("kind", ["rotation_master", "grid_master"])
def test_several_images_make_one_record_as_in_dials(pictures, analyser, kind, scan_range):
    master = getattr(pictures, kind)
    assert analyser.analyse(master, scan_range).as_payload() == ask_dials(master, scan_range)


def test_compressed_images_have_the_same_numbers(pictures, analyser, tmp_path):
    plain = Path(pictures.rotation_cbfs[0])
    for suffix, compress in ((".gz", gzip.compress), (".bz2", bz2.compress)):
        packed = tmp_path / f"{plain.name}{suffix}"
        packed.write_bytes(compress(plain.read_bytes()))
        assert analyser.analyse(str(packed)) == analyser.analyse(str(plain))


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "scan_range"),
    [
        ("thaumatin_grid/thau_3_2_0003.cbf.bz2", None),
        ("thaumatin_grid/thau_3_2_0019.cbf.bz2", None),
        ("l_cysteine/l-cyst_01_00001.cbf.gz", None),
        ("therm/Therm_6_2.nxs", (4, 4)),
    ],
)
def test_real_images_have_dials_numbers(real_data, analyser, file, scan_range):
    path = str(real_data / file)
    assert analyser.analyse(path, scan_range).as_payload() == ask_dials(path, scan_range)


@pytest.mark.real_data
def test_image_that_is_not_written_yet_is_no_image_without_spots(real_data, analyser):
    with pytest.raises(Exception, match=r"image 5 of .*Therm_6_2.nxs is not in .*Therm_6_2_000001.h5"):
        analyser.analyse(str(real_data / "therm/Therm_6_2.nxs"), (5, 5))


def test_image_is_analysed_once_it_has_been_written(pictures, analyser, ask, tmp_path):
    import h5py

    whole = Path(pictures.rotation_master)
    shutil.copytree(whole.parent, tmp_path, dirs_exist_ok=True)
    [data_file] = tmp_path.glob("*.h5")
    with h5py.File(data_file, "r") as file:
        images = file["data"][:]
    data_file.unlink()
    with h5py.File(data_file, "w", libver="v110") as file:
        growing = file.create_dataset("data", images.shape, images.dtype, chunks=(1, *images.shape[1:]))
        growing[0] = images[0]
        file.swmr_mode = True
        master = str(tmp_path / whole.name)
        assert ask(master, 1) == analyser.analyse(str(whole), (1, 1))
        assert "has not been written" in ask(master, 2)
        growing[1] = images[1]
        growing.flush()
        assert ask(master, 2) == analyser.analyse(str(whole), (2, 2))


@pytest.fixture
def ask():
    """Analyse in a DIALS process: reader and writer of one HDF5 file must not be one process."""
    from tasks.diffraction.dials_processes.child_pool import ChildPool
    from tasks.diffraction.requests import ImageRequest, Success

    pool = ChildPool()

    def analyse(master, number):
        [outcome] = pool.meet([ImageRequest(master, AnalysisParameters().options, (number, number))])
        return outcome.value.statistics if isinstance(outcome, Success) else outcome.reason

    yield analyse
    pool.close()


def test_missing_data_file_is_named(pictures, analyser, tmp_path):
    whole = Path(pictures.rotation_master)
    shutil.copytree(whole.parent, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("*.h5"):
        path.unlink()
    with pytest.raises(Exception, match=r"data file .*\.h5 .* is missing"):
        analyser.analyse(str(tmp_path / whole.name), (1, 1))


def test_half_written_image_is_an_error_until_it_is_complete(pictures, analyser, tmp_path):
    from tasks.diffraction.errors import ImageUnreadable

    whole = Path(pictures.rotation_cbfs[0])
    part = tmp_path / whole.name
    for size in (0, 100, whole.stat().st_size // 2):
        part.write_bytes(whole.read_bytes()[:size])
        with pytest.raises(ImageUnreadable, match=str(part)):
            analyser.analyse(str(part))
    part.write_bytes(whole.read_bytes())
    assert analyser.analyse(str(part)) == analyser.analyse(str(whole))


def test_replaced_files_are_read_anew(pictures, analyser, tmp_path):
    here = tmp_path / "image_0001.cbf"
    for source in pictures.rotation_cbfs[:2]:
        shutil.copy(source, here)
        assert analyser.analyse(str(here)) == analyser.analyse(source)
    folder = tmp_path / "master"
    shutil.copytree(Path(pictures.rotation_master).parent, folder)
    master = folder / Path(pictures.rotation_master).name
    assert analyser.analyse(str(master), (1, 1)) == analyser.analyse(pictures.rotation_master, (1, 1))
    for path in Path(pictures.grid_master).parent.iterdir():
        shutil.copy(path, folder / f".{path.name}")
        (folder / f".{path.name}").replace(folder / path.name)
    assert analyser.analyse(str(master), (1, 1)) == analyser.analyse(pictures.grid_master, (1, 1))


@pytest.mark.parametrize(
    ("file", "scan_range", "complaint"),
    [
        ("/nowhere/a_0001.cbf", None, "the image file /nowhere/a_0001.cbf does not exist"),
        ("/nowhere/a.nxs", (1, 1), "the image file /nowhere/a.nxs does not exist"),
        ("/etc/hostname", None, "DIALS can't read /etc/hostname"),
        (str(Path(__file__).parent), None, "is a folder"),
        ("rotation_master", (7, 7), "within image range 1..6"),
        ("rotation_master", (0, 1), "0 to 1"),
        ("rotation_master", (3, 2), "3 to 2"),
        ("grid_master", (7, 7), "7 to 7"),
    ],
)
def test_error_says_what_is_wrong_with_which_file(pictures, analyser, file, scan_range, complaint):
    from tasks.diffraction.errors import ImageUnreadable

    with pytest.raises(ImageUnreadable, match=complaint):
        analyser.analyse(getattr(pictures, file, file), scan_range)
